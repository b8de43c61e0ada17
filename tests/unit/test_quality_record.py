"""What `make quality` finds is kept by check, and only marked blocks of pages say it."""

from __future__ import annotations

from hashlib import sha256
from math import isnan, nan
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.quality.__main__ import main
from benchmarks.quality.pages import rewritten
from benchmarks.quality.record import Record
from benchmarks.quality.report import BLOCKS
from benchmarks.quality.results import Results, Run, nothing_yet, read, write
from benchmarks.quality.splits import read_splits
from benchmarks.quality.target import Entry, Figures, Finding, NotMeasured
from tests.embeddings import write as write_embeddings
from tests.threads import one_thread

__all__ = ["one_thread"]

BEGIN, END = "<!-- measured met: begin -->", "<!-- measured met: end -->"
MET = Finding(what="k=16: nn10", goal=0.3, found=0.31)
MISSED = Finding(what="k=32: nn10", goal=0.5, found=0.49)
ENTRIES = (
    MET,
    Finding(what="spread", goal=0.005, found=0.001, is_most=True),
    NotMeasured(what="k=64", needs="vectors wider than 64"),
    Figures(table="recipe", of="one pass, k=16", numbers=16, values={"nn10": 0.31, "mrr": 0.4}),
)


def run_of(*entries: Entry, **facts: object) -> Run:
    known = {"seeds": [0, 1], "day": "2026-11-23", "commit": "abc1234+", "environment": "x86_64"}
    return Run(entries=list(entries), **{**known, "seconds": 2.0, **facts})  # type: ignore[arg-type]  # a table of facts


def results_of(**runs: Run) -> Results:
    return Results(digest="d", is_public=True, width=48, vectors=400, pairs=100, runs=runs)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_embeddings(tmp_path_factory.mktemp("data"), train=300, test=100)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_bytes(f"before\r\n{BEGIN}old{END}, after\n".encode())
    return path


def quality(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=False)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    results = results_of(online=run_of(*ENTRIES), speed=run_of())
    write(tmp_path / "results.json", results)
    assert read(tmp_path / "results.json") == results


def test_a_figure_that_is_no_number_is_kept_as_none_and_missed(tmp_path: Path) -> None:
    broken = Finding(what="x", goal=1.0, found=nan)
    write(tmp_path / "results.json", results_of(states=run_of(broken)))
    [found] = read(tmp_path / "results.json").runs["states"].findings
    assert (isnan(found.found), found.is_met) == (True, False)


def test_a_run_replaces_the_last_one_of_its_check_alone(data: Path, tmp_path: Path) -> None:
    record, splits = Record(tmp_path / "results.json", []), read_splits(data)
    old, other, new = run_of(MET, commit="1"), run_of(MET, commit="2"), run_of(MISSED, commit="3")
    for name, run in (("online", old), ("speed", other), ("online", new)):
        record.add(splits, name, run)
    assert read(record.path).runs == {"online": new, "speed": other}


@pytest.mark.parametrize(
    "text",
    [
        "a {} b\n",
        "| row ({}, link) |\r\n\r\nlast line without an end",
        "ümlaut\t{}\n\n<!-- another comment -->\n$not a {{field}}\n",
        "{} and again {}",
    ],
)
def test_nothing_but_blocks_is_rewritten(text: str) -> None:
    new = rewritten(text.replace("{}", f"{BEGIN}old{END}"), results_of(a=run_of(MET, MISSED)))
    assert new == text.replace("{}", f"{BEGIN}1 of 2 targets met{END}")


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_that_was_rewritten_is_found_and_written_the_same_again(name: str) -> None:
    text = f"a\n<!-- measured {name}: begin -->\nold\n<!-- measured {name}: end -->\nb"
    once = rewritten(text, results_of(online=run_of(*ENTRIES)))
    assert rewritten(once, results_of(online=run_of(*ENTRIES))) == once
    assert (once[:2], once[-2:], "old" in once) == ("a\n", "\nb", False)


@pytest.mark.parametrize(
    "text",
    ["none", f"{BEGIN} no end", f"{END} no begin", f"{BEGIN}{END}{BEGIN}", BEGIN + END.upper()],
)
def test_blocks_that_do_not_begin_and_end_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected blocks between"):
        rewritten(text, results_of())


def test_a_block_that_nobody_writes_is_refused() -> None:
    text = BEGIN.replace("met", "speed") + END.replace("met", "speed")
    with pytest.raises(ValueError, match="unknown block 'speed'; expected one of: targets, met"):
        rewritten(text, results_of())


def test_every_check_says_when_it_ran_at_which_commit_and_with_which_seeds() -> None:
    results = results_of(
        online=run_of(*ENTRIES), speed=run_of(MISSED, seeds=[0], commit="def5678", day="2026-11-24")
    )
    text = BLOCKS["targets"](results)
    assert "(2026-11-23 at abc1234+, seeds 0, 1; x86_64; 2 s)" in text
    assert "(2026-11-24 at def5678, seed 0; x86_64; 2 s)" in text
    assert "2 of 3 targets met. Missed:\n\n- speed, k=32: nn10: 0.490 of 0.500" in text


def test_the_table_of_the_recipe_says_where_each_column_is_from() -> None:
    text = BLOCKS["recipe"](results_of(online=run_of(*ENTRIES), speed=run_of(MET)))
    assert text.splitlines()[0] == "| of 48 | one pass |"
    assert "| 16 | 0.310 / 0.400 |" in text
    assert text.endswith("the worst (`online` 2026-11-23 at abc1234+, seeds 0, 1).")


def test_a_run_of_the_command_is_recorded_and_told(data: Path, page: Path) -> None:
    path = page.with_name("results.json")
    write(path, nothing_yet(read_splits(data)).with_run("speed", run_of(MET)))
    found = quality(data, "--only", "demo", "--seeds", 1, "--results", path, "--page", page)
    recorded = read(path).runs
    assert (found.exit_code, sorted(recorded)) == (0, ["demo", "speed"])
    assert (recorded["speed"], recorded["demo"].seeds) == (run_of(MET), [0])
    assert page.read_bytes() == f"before\r\n{BEGIN}1 of 1 targets met{END}, after\n".encode()


def test_results_of_other_data_are_not_mixed(data: Path, page: Path) -> None:
    path = page.with_name("results.json")
    write(path, results_of(speed=run_of(MET)))
    found = quality(data, "--only", "demo", "--results", path, "--page", page)
    assert (found.exit_code, "holds results of other data" in found.output) == (2, True)
    assert read(path) == results_of(speed=run_of(MET))


@pytest.mark.parametrize("options", [(), ("--results", "{}", "--components", "16")])
def test_a_look_is_printed_and_not_recorded(
    data: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    ours = Record()
    before = [sha256(path.read_bytes()).digest() for path in (ours.path, *ours.pages)]
    given = [option.format(tmp_path / "results.json") for option in options]
    found = quality(data, "--only", "demo", "--seeds", 1, *given)
    assert "not measured: needs vectors of 384 numbers" in found.output
    assert [sha256(path.read_bytes()).digest() for path in (ours.path, *ours.pages)] == before
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_is_refused_before_anything_runs(
    data: Path, page: Path
) -> None:
    page.write_text("no blocks")
    path = page.with_name("results.json")
    found = quality(data, "--only", "online", "--results", path, "--page", page)
    assert (found.exit_code, "expected blocks between" in found.output) == (2, True)
    assert (page.read_text(), path.exists(), "###" in found.output) == ("no blocks", False, False)


def test_pages_are_written_again_from_what_is_recorded(page: Path) -> None:
    path = page.with_name("results.json")
    write(path, results_of(a=run_of(MET)))
    assert quality("--render", "--results", path, "--page", page).exit_code == 0
    assert page.read_bytes() == f"before\r\n{BEGIN}1 of 1 targets met{END}, after\n".encode()


@pytest.mark.parametrize(
    ("options", "told"), [((), "expected DATA, or --render"), (("--render",), "cannot be written")]
)
def test_without_data_and_without_results_it_is_said_what_is_wanted(
    tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    found = quality(*options, "--results", tmp_path / "none.json")
    assert (found.exit_code, told in found.output) == (2, True)
