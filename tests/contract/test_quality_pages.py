"""README, docs and model card tell the figures of `docs/quality.json`, and so the same ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.quality.record import Record
from benchmarks.quality.results import Results, read

RECORD = Record()
README, DOCS, CARD = RECORD.pages


@pytest.fixture(scope="module")
def results() -> Results:
    return read(RECORD.path)


def block(page: Path, name: str) -> str:
    """What stands between the marks."""
    marks = f"<!-- measured {name}: begin -->(.*?)<!-- measured {name}: end -->"
    [found] = re.findall(marks, page.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


def cells(text: str) -> list[list[str]]:
    """The cells of every line of a table, without what makes them bold."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines]


def rows(text: str) -> dict[str, list[float]]:
    """The numbers of a table's lines, by their first cell."""
    found = [line for line in cells(text) if all(re.fullmatch(r"[0-9.]+", one) for one in line[1:])]
    return {name: [*map(float, numbers)] for name, *numbers in found}


@pytest.mark.parametrize("place", range(3), ids=["README", "docs", "card"])
def test_a_page_is_what_its_results_make_of_it(place: int, results: Results) -> None:
    written = RECORD.texts(results)[place]
    assert RECORD.pages[place].read_text(encoding="utf-8") == written, "run make quality --render"


def test_readme_card_and_docs_tell_the_same_of_the_demo_model() -> None:
    readme, card = rows(block(README, "demo")), rows(block(CARD, "card"))
    docs = rows(block(DOCS, "targets").partition("### demo\n")[2].partition("\n### ")[0])
    readme["this model"] = readme.pop("minilm-384-to-96")
    assert {name: of[1:] for name, of in readme.items()} == {name: docs[name] for name in readme}
    assert {name: [round(one, 3) for one in of] for name, of in card.items()} == {
        name: docs[name] for name in card
    }


def test_the_card_and_the_models_state_tell_the_same_metrics() -> None:
    state = json.loads((CARD.parent / "state.json").read_text())
    found = rows(block(CARD, "card"))["this model"]
    assert found == pytest.approx(
        [*state["metrics"].values()], abs=2e-4
    )  # a tie on another machine


def test_the_count_in_the_readme_is_that_of_the_rows_in_the_docs() -> None:
    targets = block(DOCS, "targets")
    met, missed = len(re.findall(r"\| yes \|", targets)), len(re.findall(r"\*\*no\*\*", targets))
    assert block(README, "met") == f"{met} of {met + missed} targets met"
    assert f"{met} of {met + missed} targets met." in targets


def test_the_recipes_table_tells_what_the_targets_tell() -> None:
    online = block(DOCS, "targets").partition("### online\n")[2].partition("\n### ")[0]
    targets = {what: found for what, _, found, _ in (one for one in cells(online) if len(one) == 4)}
    titles, _, *lines = cells(block(README, "recipe"))
    told = {k: line[titles.index("one pass") - 1] for k, *line in lines}
    both = {
        k: " / ".join((targets[f"k={k}: nn10"], targets[f"k={k}: mrr"]))
        for k in told
        if f"k={k}: mrr" in targets
    }
    assert {k: told[k] for k in both} == both
    assert len(both) == 5  # of 192 components no mrr is wanted


def test_the_recorded_results_are_of_the_public_set(results: Results) -> None:
    assert (results.is_public, results.width, results.vectors) == (True, 384, 20_000)
