"""The gate: what it judges and when, what it remembers, and whose word counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from app.config import ModelConfig
from app.errors import ArtifactInvalid, Unacceptable
from app.layers import assign
from app.training.gate.examiner import Examiner
from app.training.observed.unit_vectors import UnitVectors
from app.training.trainer import Trainer
from app.types import (
    Batch,
    ChangeRequest,
    Configure,
    GateDescription,
    Judge,
    Replace,
    Rollback,
    Serve,
    TrainStep,
)
from tests.checks.gate import (
    CALM,
    CALM_STEPS,
    COMPONENTS,
    CONFIG,
    MOST_STEPS,
    WIDTH,
    WILD,
    WILD_STEPS,
    stream_step,
)
from tests.checks.neighbours import kept_by_hand
from tests.unit.training.examples import bits, one_thread

__all__ = ["one_thread"]

# Keeps three of the directions that do not matter.
BAD = np.eye(WIDTH, dtype=np.float32)[-COMPONENTS:]


def gate_of(trainer: Trainer) -> GateDescription:
    gate = trainer.describe_gate()
    assert gate is not None
    return gate


def learn(trainer: Trainer, steps: int, rate: float = CALM) -> Trainer:
    trainer.apply(Configure(learning_rates=(rate,)))
    for _ in range(steps):
        trainer.train(stream_step(trainer.version))
    return trainer


def closed(config: ModelConfig = CONFIG) -> Trainer:
    trainer = learn(learn(Trainer(config), CALM_STEPS), WILD_STEPS, WILD)
    assert not gate_of(trainer).is_open
    return trainer


def judge_bad_weights(trainer: Trainer) -> GateDescription:
    assign(trainer.layer, {"Q_reduced": torch.tensor(BAD)})
    trainer.version += 1
    trainer.apply(Judge())
    return gate_of(trainer)


def with_gate(**fields: float) -> ModelConfig:
    return CONFIG.model_copy(update={"gate": CONFIG.gate.model_copy(update=fields)})


def held_out(trainer: Trainer) -> Tensor:
    assert trainer.observed is not None
    return trainer.observed.state.held_out.vectors.rows.tensor()


def test_it_is_open_until_enough_is_held_out() -> None:
    trainer = learn(Trainer(CONFIG), 2)  # 320 vectors, of which 16 are held out
    gate = judge_bad_weights(trainer)
    assert (gate.is_open, gate.rows, gate.nn10) == (True, 16, None)
    assert gate.reason == "16 vectors are held out, and at least 32 are needed to judge"


def test_it_judges_held_out_vectors_by_their_neighbours_among_all_that_is_remembered() -> None:
    """Among a few hundred the eigenvectors look better than what learns from them."""
    trainer = learn(Trainer(CONFIG), CALM_STEPS)
    queries, figure = held_out(trainer), gate_of(trainer).nn10
    assert trainer.observed is not None
    rows = torch.cat([queries, trainer.observed.state.reservoir.rows.tensor()])
    weight = trainer.serving()["Q_reduced"]
    assert figure is not None
    assert figure.judged == pytest.approx(kept_by_hand(rows, weight, len(queries)))


def test_no_vector_is_held_out_and_trained_on() -> None:
    trainer = learn(Trainer(CONFIG), CALM_STEPS)
    assert trainer.observed is not None
    trained = {row.numpy().tobytes() for row in trainer.observed.state.reservoir.rows.tensor()}
    assert trained.isdisjoint(row.numpy().tobytes() for row in held_out(trainer))


def test_worse_weights_are_held_back_at_those_that_passed() -> None:
    trainer = learn(Trainer(CONFIG), CALM_STEPS)
    good, passed = trainer.serving(), gate_of(trainer).passed
    gate = judge_bad_weights(trainer)
    kept = trainer.held_back
    assert kept is not None
    assert (gate.is_open, gate.passed, kept.version) == (False, passed, passed)
    assert torch.equal(kept.tensors["Q_reduced"], good["Q_reduced"])
    assert f"version {trainer.version} is worse than version {passed}: nn10 fell" in gate.reason


def test_it_opens_when_the_weights_are_no_worse_any_more() -> None:
    trainer = closed()
    while not gate_of(trainer).is_open:
        assert trainer.version < MOST_STEPS
        learn(trainer, 1)
    assert trainer.held_back is None
    assert gate_of(trainer).passed == gate_of(trainer).judged == trainer.version


def test_the_bound_allows_a_fall() -> None:
    trainer = learn(Trainer(with_gate(bound=1.0)), CALM_STEPS)
    assert judge_bad_weights(trainer).is_open


def test_it_looks_once_in_so_many_accepted_steps() -> None:
    trainer, judged = Trainer(with_gate(every=3)), []
    refused = replace(stream_step(0).batch, labels=np.zeros(160, "f4"))
    for _ in range(7):
        learn(trainer, 1)
        with pytest.raises(Unacceptable):
            trainer.train(TrainStep(batch=refused))
        judged.append(gate_of(trainer).judged)
    assert judged == [None, None, 4, 4, 4, 7, 7]


def test_a_look_on_request_makes_no_version_and_is_taken_once() -> None:
    trainer = learn(Trainer(CONFIG), CALM_STEPS + 1)
    assert gate_of(trainer).judged == trainer.version - 1
    trainer.apply(Judge())
    once = trainer.state_digest()
    trainer.apply(Judge())
    assert gate_of(trainer).judged == trainer.version == CALM_STEPS + 2
    assert trainer.state_digest() == once


def test_a_step_that_is_undone_was_not_judged() -> None:
    trainer = learn(Trainer(CONFIG), CALM_STEPS)
    before, undo = bits(trainer.state()), trainer.savepoint()
    learn(trainer, WILD_STEPS, WILD)
    undo.restore()
    assert gate_of(trainer).is_open
    assert bits(trainer.state()) == before


def test_a_closed_gate_is_continued_from_its_state() -> None:
    trainer, again = closed(), Trainer(CONFIG)
    again.restore(trainer.state())
    assert again.describe_gate() == trainer.describe_gate()
    assert again.state_digest() == trainer.state_digest()
    kept, expected = again.held_back, trainer.held_back
    assert kept is not None
    assert expected is not None
    assert (kept.version, kept.step) == (expected.version, expected.step)
    assert torch.equal(kept.tensors["Q_reduced"], expected.tensors["Q_reduced"])


def test_from_its_state_it_opens_at_the_same_step_with_the_same_bits() -> None:
    trainer, again = learn(closed(), 1), Trainer(CONFIG)  # between two looks
    again.restore(trainer.state())
    while not gate_of(trainer).is_open:
        learn(trainer, 1)
        learn(again, 1)
        assert again.describe_gate() == trainer.describe_gate()
    assert bits(again.state()) == bits(trainer.state())


OPERATORS: dict[str, Callable[[Trainer], ChangeRequest]] = {
    "rollback": lambda trainer: Rollback(to=trainer.version, state=trainer.state()),
    "import": lambda _: Replace(tensors={"Q_reduced": BAD}),
    "live": lambda _: Serve(version="live"),
}


@pytest.mark.parametrize("chosen", OPERATORS.values(), ids=OPERATORS)
def test_what_an_operator_chooses_has_passed(chosen: Callable[[Trainer], ChangeRequest]) -> None:
    trainer = closed()
    trainer.apply(chosen(trainer))
    gate = gate_of(trainer)
    assert (gate.is_open, gate.passed, gate.judged) == (True, trainer.version, None)
    assert "an operator chose" in gate.reason


def test_a_pinned_version_says_nothing_of_the_newest() -> None:
    trainer = closed()
    before = trainer.state_digest()
    trainer.apply(Serve(version=3))
    assert trainer.state_digest() == before


@pytest.mark.parametrize(
    "config",
    [
        with_gate(every=0),
        CONFIG.model_copy(update={"recipe": "plain"}),
        CONFIG.model_copy(update={"recipe": "plain", "observe": True}),
    ],
    ids=["never", "plain", "observing"],
)
def test_a_model_without_a_gate_has_none(config: ModelConfig) -> None:
    trainer = learn(Trainer(config), 2)
    trainer.apply(Judge())
    assert (trainer.describe_gate(), trainer.held_back) == (None, None)
    assert "gate" not in trainer.state().scalars


def pairs(number: int, partner: float) -> Batch:
    """Pairs whose partners are like their queries in what matters, or not."""
    rows = stream_step(number).batch.hidden_states
    noise = np.random.default_rng(number + 1000).standard_normal(rows.shape).astype(np.float32)
    return Batch(hidden_states=rows, positives=partner * rows + noise)


def test_pairs_are_judged_by_the_rank_of_the_partner() -> None:
    trainer = Trainer(CONFIG)
    for number in range(CALM_STEPS):
        trainer.train(TrainStep(batch=pairs(number, 1.0)))
    assert trainer.observed is not None
    queries, partners = (
        rows @ trainer.serving()["Q_reduced"].mT for rows in trainer.observed.state.held_out.pairs()
    )
    cosines = torch.nn.functional.cosine_similarity(queries[:, None], partners[None], dim=2)
    ranks = (cosines >= cosines.diagonal()[:, None]).sum(dim=1)
    figure = gate_of(trainer).mrr
    assert figure is not None
    assert figure.judged == pytest.approx(float((1 / ranks).mean()))


def test_both_sides_of_a_pair_are_queries() -> None:
    trainer = Trainer(CONFIG)
    for number in range(CALM_STEPS):
        trainer.train(TrainStep(batch=pairs(number, 1.0)))
    assert trainer.observed is not None
    seen, figure = trainer.observed.state, gate_of(trainer).nn10
    asked = torch.cat(seen.held_out.pairs())
    rows = torch.cat([asked, seen.reservoir.rows.tensor()])
    assert figure is not None
    expected = kept_by_hand(rows, trainer.serving()["Q_reduced"], len(asked))
    assert figure.judged == pytest.approx(expected)


def holding_out(count: int) -> Trainer:
    """A model that holds out so many vectors, and whose weights have passed."""
    trainer = learn(Trainer(with_gate(every=1000, rows=count, bound=1e-6)), CALM_STEPS)
    rows = np.concatenate([stream_step(n).batch.hidden_states for n in range(99, 104)])[:count]
    units = UnitVectors.of(torch.from_numpy(rows), None)
    assert trainer.observed is not None
    trainer.observed.state = trainer.observed.state.holding_out(units)
    trainer.apply(Judge())
    return trainer


@pytest.mark.parametrize(("noise", "queries"), [(0.03, 700), (1.0, 512)])
def test_a_fall_that_may_be_chance_is_looked_at_with_more_queries(
    noise: float, queries: int
) -> None:
    trainer = holding_out(700)
    weight = trainer.serving()["Q_reduced"]
    draw = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    assign(trainer.layer, {"Q_reduced": weight + noise * draw})
    trainer.version += 1
    trainer.apply(Judge())
    assert trainer.observed is not None
    found = trainer.observed.state
    examiner = Examiner(trainer.config, found, torch.device("cpu"), queries=queries)
    kept, figure = examiner.figures(trainer.serving()).nn10, gate_of(trainer).nn10
    assert kept is not None
    assert figure is not None
    assert figure.judged == float(kept.mean())


DAMAGE: dict[str, dict[str, Any]] = {
    "closed without a version": {"is_open": False, "passed": None},
    "a version of 0": {"passed": {"version": 0, "step": 0}},
    "steps below 0": {"steps": -1},
    "another field": {"more": 1},
    "a figure that is none": {"judgement": {"version": 3, "rows": 40, "nn10": {"judged": "x"}}},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_record_is_refused(damage: dict[str, Any]) -> None:
    state = closed().state()
    scalars = {**state.scalars, "gate": {**state.scalars["gate"], **damage}}
    with pytest.raises(ArtifactInvalid, match="a gate that cannot be understood"):
        Trainer(CONFIG).restore(replace(state, scalars=scalars))


def test_a_record_without_the_weights_that_passed_is_refused() -> None:
    state = closed().state()
    arrays = {n: array for n, array in state.arrays.items() if not n.startswith("gate.")}
    with pytest.raises(ArtifactInvalid, match=r"no array gate\.passed\.Q_reduced"):
        Trainer(CONFIG).restore(replace(state, arrays=arrays))
