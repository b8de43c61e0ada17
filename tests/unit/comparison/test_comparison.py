from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.comparison import Comparison, bars, compare, divide, note, table, write_plot
from app.errors import ConfigInvalid, Unacceptable
from tests.embeddings import WIDTH, pairs
from tests.threads import one_thread_a_module

__all__ = ["one_thread_a_module"]

METHODS = ["PCA", "random", "trained", "truncation"]


@pytest.fixture(scope="module")
def paired() -> Comparison:
    division = divide(*pairs(2600, seed=1), share=0.2, seed=0)
    return compare(division, components=(12, 4))


@pytest.fixture(scope="module")
def alone() -> Comparison:
    division = divide(pairs(300, seed=1)[0], None, share=0.2, seed=0)
    return compare(division, components=[12])


def test_every_method_is_measured_at_every_dimension(paired: Comparison) -> None:
    named = [(row.n_components, row.method) for row in paired.rows]
    assert named == [(k, method) for k in (4, 12) for method in METHODS] + [(WIDTH, "full")]
    assert (paired.input_size, paired.learned, paired.held_out) == (WIDTH, 4160, 1040)


def test_what_was_trained_beats_pca_and_that_beats_knowing_nothing(paired: Comparison) -> None:
    found = {row.method: row for row in paired.rows if row.n_components == 12}
    assert found["trained"].nn10 > found["PCA"].nn10 + 0.01
    assert (found["trained"].mrr or 0) > (found["PCA"].mrr or 0) + 0.02
    assert found["PCA"].nn10 > max(found["random"].nn10, found["truncation"].nn10) + 0.04


def test_the_full_dimension_keeps_every_neighbour(paired: Comparison, alone: Comparison) -> None:
    assert (paired.rows[-1].nn10, alone.rows[-1].nn10) == (1, 1)


def test_a_row_says_how_sure_and_how_large_it_is(paired: Comparison) -> None:
    row = paired.rows[0]
    assert row.low < row.nn10 < row.high < row.low + 0.1
    assert (row.bytes_a_vector, row.gigabytes_a_million) == (16, 0.016)


def test_without_pairs_rows_search_each_other_and_not_themselves(alone: Comparison) -> None:
    assert (alone.has_pairs, alone.learned, alone.held_out) == (False, 240, 60)
    worst = min(row.nn10 for row in alone.rows)
    assert 10 / 59 < worst < 0.9  # with itself among the ten, no list could keep less than a tenth


def test_the_same_seed_divides_the_same_and_pairs_stay_together() -> None:
    rows = np.arange(300, dtype=np.float16).repeat(2).reshape(300, 2)
    one, again, other = (divide(rows, -rows, share=0.3, seed=seed) for seed in (0, 0, 1))
    for part in (one.learned, one.held_out):
        assert part.positives is not None
        assert torch.equal(part.hidden_states, -part.positives)
    assert torch.equal(one.held_out.every, again.held_out.every)
    assert not torch.equal(one.held_out.every, other.held_out.every)
    every = torch.cat([one.learned.hidden_states, one.held_out.hidden_states])
    assert sorted(every[:, 0].tolist()) == list(range(300))


@pytest.mark.parametrize(
    ("rows", "partners", "code"),
    [
        (np.ones((300, 2, 2)), None, "shape_mismatch"),
        (np.ones((300, 2)), np.ones((300, 3)), "shape_mismatch"),
        (np.ones((80, 2)), None, "out_of_range"),
        (np.full((300, 2), np.nan), None, "non_finite_input"),
        (np.full((300, 2), 1e300), None, "non_finite_input"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_rows_that_cannot_be_compared_are_refused(
    rows: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    partners: np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None,
    code: str,
) -> None:
    with pytest.raises(Unacceptable) as refused:
        divide(rows, partners, share=0.2, seed=0)
    assert refused.value.code == code


@pytest.mark.parametrize("components", [(), (0,), (16, 49)])
def test_components_beyond_the_vectors_are_refused(components: tuple[int, ...]) -> None:
    division = divide(pairs(300, seed=1)[0], None, share=0.2, seed=0)
    with pytest.raises(ConfigInvalid, match="from 1 to 48, the width"):
        compare(division, components=components)


def test_the_table_has_a_line_a_row_and_pairs_only_where_known(
    paired: Comparison, alone: Comparison
) -> None:
    lines = table(paired).splitlines()
    assert len(lines) == 2 + len(paired.rows)
    assert len({len(line) for line in lines}) == 1
    assert "MRR" in lines[0]
    assert "MRR" not in table(alone)


def test_bars_are_as_long_as_what_is_kept(paired: Comparison) -> None:
    lengths = {
        line.split()[0]: line.count("█")
        for line in bars(paired).partition("12 components")[2].splitlines()
        if "█" in line
    }
    expected = {r.method: round(40 * r.nn10) for r in paired.rows if r.n_components == 12}
    assert lengths == expected


def test_too_few_vectors_to_train_on_are_said(paired: Comparison, alone: Comparison) -> None:
    assert "vectors to learn from" not in note(paired)
    assert "240 vectors to learn from" in note(alone)
    assert "2048 for 12 components" in note(alone)


def test_too_few_documents_to_tell_neighbours_by_are_said(
    paired: Comparison, alone: Comparison
) -> None:
    assert f"among {paired.held_out // 2} rows" in note(paired)
    assert f"among {alone.held_out} rows" in note(alone)
    assert note(replace(paired, held_out=4000)) == ""


def test_a_wide_map_is_said_to_need_more_vectors(alone: Comparison) -> None:
    rows = tuple(replace(row, n_components=24) for row in alone.rows)
    assert "8192 for 24 components" in note(replace(alone, rows=rows))


def test_a_disk_that_refuses_a_plot_is_said(paired: Comparison, tmp_path: Path) -> None:
    (tmp_path / "plot.png").mkdir()
    with pytest.raises(ConfigInvalid, match="choose another file"):
        write_plot(paired, tmp_path / "plot.png")


def test_a_plot_is_a_png(paired: Comparison, alone: Comparison, tmp_path: Path) -> None:
    for name, comparison in {"paired": paired, "alone": alone}.items():
        write_plot(comparison, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_plot_without_matplotlib_names_the_extra(
    paired: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigInvalid, match=r"slimvec\[plots\]"):
        write_plot(paired, tmp_path / "plot.png")


def test_each_reduction_is_told_before_it_is_made() -> None:
    division, told = divide(pairs(300, seed=1)[0], None, share=0.2, seed=0), list[str]()
    found = compare(division, components=(12,), begins=told.append)
    assert told == [f"{row.method}, 12 components" for row in found.rows if row.method != "full"]
