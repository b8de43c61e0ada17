"""States: what an encoder's layer says of each token, neither pooled nor normalised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.quality import goals
from benchmarks.quality.learners import config, learn, nn10, vectors
from benchmarks.quality.splits import Pairs, Splits
from benchmarks.quality.target import CHECKS, Bench, Entry, Figures, Finding, NotMeasured

_K = 64
# Token states of small encoders are about this long, and share a direction.
_LENGTH, _COMMON, _SPREAD = 13.0, 0.5, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class _States:
    """States to learn from and to report on, and what they are."""

    what: str
    train: Pairs
    test: Pairs


@CHECKS.register("states")
def states(bench: Bench) -> Iterator[Entry]:
    """Raw token states: those of `*_states.npy`, or else made up from the vectors."""
    given = _given(bench.splits) or _made_up(bench.splits)
    train, test, width = given.train, given.test, given.train.queries.shape[1]
    if width <= _K:
        yield NotMeasured(what=f"k={_K}", needs=f"vectors wider than {_K}")
        return
    bar = nn10(pca_of_raw(train.every, _K), test)
    yield _line(f"PCA of the {given.what} states", bar)
    for what, epochs, rows, goal in (
        ("online", 1, 64, goals.STATES_ONLINE),
        ("offline", goals.EPOCHS, goals.OFFLINE_ROWS, goals.STATES_OFFLINE),
    ):
        found = []
        for seed in bench.seeds:
            model = config(width, _K, seed=seed)
            weight = learn(model, vectors(train, seed=seed, rows=rows, epochs=epochs))
            found.append(nn10(weight, test) if torch.isfinite(weight).all() else float("nan"))
        worst = bench.worst(found)
        yield Finding(
            what=f"k=64, {what}, {given.what} states: finite, and nn10 as a share of PCA's",
            goal=goal,
            found=worst / bar,
        )
        yield _line(f"recipe, {what}", worst)


def _line(of: str, fidelity: float) -> Figures:
    """Fidelity alone: no state is another one's own."""
    return Figures(table="states", of=of, numbers=_K, values={"nn10": fidelity})


def _given(splits: Splits) -> _States | None:
    """The states of the files: the first half asks, the second half is searched."""
    if not splits.states:
        return None
    train, test = (_halves(splits.states[split]) for split in ("train", "test"))
    return _States(what="real", train=train, test=test)


def _halves(rows: Tensor) -> Pairs:
    half = len(rows) // 2
    return Pairs(rows[:half], rows[half : 2 * half])


def _made_up(splits: Splits) -> _States:
    return _States(what="made-up", train=as_states(splits.train), test=as_states(splits.test))


def as_states(pairs: Pairs) -> Pairs:
    """Vectors made like raw hidden states: long, uneven, with a common direction."""
    generator = torch.Generator().manual_seed(0)
    width = pairs.queries.shape[1]
    common = torch.nn.functional.normalize(torch.randn(width, generator=generator), dim=0)

    def state(rows: Tensor) -> Tensor:
        moved = torch.nn.functional.normalize(rows, dim=1) + _COMMON * common
        lengths = (_SPREAD * torch.randn(len(rows), 1, generator=generator)).exp() * _LENGTH
        return lengths * moved

    return Pairs(state(pairs.queries), state(pairs.documents))


def pca_of_raw(rows: Tensor, k: int) -> Tensor:
    """Leading eigenvectors of the second moment of the rows at their own lengths."""
    moment = rows.double().mT @ rows.double()
    leading: Tensor = torch.linalg.eigh(moment).eigenvectors.mT.flip(0)[:k].float()
    return leading
