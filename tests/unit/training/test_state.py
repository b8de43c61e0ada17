from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.config import parse_config
from app.errors import ArtifactInvalid
from app.layers import PARAMETRIZATIONS
from app.training.guards import GuardState
from app.training.trainer import Trainer
from app.types import TrainerState
from tests.unit.training.examples import (
    INPUT_SIZE,
    bits,
    make_config,
    make_step,
    one_thread,
    train,
)

__all__ = ["one_thread"]


def through_json(state: TrainerState) -> TrainerState:
    """As a checkpoint gives it back: scalars through JSON, arrays read-only."""
    arrays = {name: array.copy() for name, array in state.arrays.items()}
    for array in arrays.values():
        array.setflags(write=False)
    return replace(state, arrays=arrays, scalars=json.loads(json.dumps(state.scalars)))


# The arguments of those that need some.
CONSTRAINTS: dict[str, Any] = {
    **{name: name for name in PARAMETRIZATIONS},
    "low_rank": {"type": "low_rank", "rank": 2},
    "sparse": {"type": "sparse", "density": 0.5},
}
# Every optimizer on a plain weight is in test_declared_training; here each kind of memory that one
# may have: moments that a step makes, one that is there before, and numbers beside tensors.
KINDS_OF_MEMORY = ["Adam", "Adagrad", "Adafactor", "LBFGS"]


@pytest.mark.parametrize("parametrization", CONSTRAINTS.values(), ids=CONSTRAINTS)
@pytest.mark.parametrize("name", KINDS_OF_MEMORY)
def test_restored_trainer_continues_bit_for_bit(name: str, parametrization: Any) -> None:
    config = make_config(optimizer={"type": name}, bias=True, parametrization=parametrization)
    straight = train(Trainer(config), range(5))
    resumed = Trainer(config)
    resumed.restore(through_json(straight.state()))
    assert bits(resumed.state()) == bits(straight.state())
    assert bits(train(resumed, range(20, 25)).state()) == bits(
        train(straight, range(20, 25)).state()
    )


def test_running_statistics_are_continued_and_in_the_digest() -> None:
    layers = [{"type": "BatchNorm1d"}, {"type": "QRReduction", "n_components": 2}]
    config = parse_config({"input_size": INPUT_SIZE, "layers": layers})
    straight, resumed = train(Trainer(config), range(3)), Trainer(config)
    resumed.restore(through_json(straight.state()))
    statistics = straight.serving()["0.running_mean"]
    assert torch.equal(resumed.serving()["0.running_mean"], statistics)
    before = straight.state_digest()
    straight.layer.get_buffer("0.running_mean").add_(1)
    assert straight.state_digest() != before


def test_restored_without_the_moments_the_bits_differ() -> None:
    straight = train(Trainer(make_config()), range(5))
    resumed = Trainer(make_config())
    resumed.assign({name: t.numpy() for name, t in straight.serving().items()})
    train(resumed, [5])
    assert not np.array_equal(
        resumed.serving()["Q_reduced"], train(straight, [5]).serving()["Q_reduced"]
    )


_ELSEWHERE = """
import sys, numpy as np, torch
torch.set_num_threads(1)
from app.training.trainer import Trainer
from app.types import TrainerState
from tests.unit.training.examples import make_config, train
import json
with np.load(sys.argv[1]) as arrays:
    state = TrainerState(version=21, step=20, arrays=dict(arrays), scalars=json.loads(sys.argv[2]))
trainer = Trainer(make_config())
trainer.restore(state)
np.save(sys.argv[3], train(trainer, range(20, 40)).serving()["Q_reduced"].numpy())
"""


def test_another_process_continues_bit_for_bit(tmp_path: Any) -> None:
    straight = train(Trainer(make_config()), range(20))
    state = straight.state()
    arrays: dict[str, Any] = dict(state.arrays)
    np.savez(tmp_path / "state.npz", **arrays)
    files = [tmp_path / "state.npz", json.dumps(state.scalars), tmp_path / "Q.npy"]
    subprocess.run([sys.executable, "-c", _ELSEWHERE, *map(str, files)], check=True)
    train(straight, range(20, 40))
    assert np.array_equal(np.load(tmp_path / "Q.npy"), straight.serving()["Q_reduced"].numpy())


def test_names_are_flat_and_scalars_are_json() -> None:
    state = train(Trainer(make_config(parametrization="none")), range(3)).state()
    moments = {f"optimizer.Q_reduced.{key}" for key in ("exp_avg", "exp_avg_sq", "step")}
    canary = {f"guards.canary.{key}" for key in ("hidden_states", "sample_weights")}
    assert set(state.arrays) == {"layer.Q_reduced"} | moments | canary
    assert (state.version, state.step) == (4, 3)
    (group,) = state.scalars["groups"]
    wanted = {"parameters": ["Q_reduced"], "lr": 1e-2, "betas": [0.9, 0.999]}
    assert {key: group[key] for key in wanted} == wanted
    assert json.loads(json.dumps(state.scalars)) == state.scalars


def test_a_model_that_was_never_trained_has_the_state_that_it_had_before_there_were_guards() -> (
    None
):
    state = Trainer(make_config()).state()
    assert (set(state.arrays), set(state.scalars)) == ({"layer.Q_reduced"}, {"optimizer", "groups"})


def test_state_from_before_there_were_guards_is_continued_with_fresh_ones() -> None:
    trainer = train(Trainer(make_config()), range(3))
    old = _without("guards.")(trainer.state())
    scalars = {name: value for name, value in old.scalars.items() if name != "guards"}
    trainer.restore(replace(old, scalars=scalars))
    assert trainer.guards.state == GuardState()
    assert bits(trainer.state()) == bits(replace(old, scalars=scalars))


def test_state_is_a_copy() -> None:
    trainer = train(Trainer(make_config()), range(2))
    state = trainer.state()
    before = bits(state)
    train(trainer, range(2, 4))
    assert bits(state) == before


def test_state_does_not_share_memory_with_the_trainer_that_loads_it() -> None:
    state = train(Trainer(make_config()), range(2)).state()
    before = bits(state)
    resumed = Trainer(make_config())
    resumed.restore(state)
    train(resumed, range(2))
    assert bits(state) == before


def test_learning_rate_comes_from_the_state() -> None:
    trainer = Trainer(make_config())
    trainer.optimizer.param_groups[0]["lr"] = 0.5
    resumed = Trainer(make_config())
    resumed.restore(trainer.state())
    assert resumed.train(make_step()).learning_rates == (0.5,)


def test_hyper_parameters_have_the_types_of_torch_again() -> None:
    trainer, resumed = Trainer(make_config()), Trainer(make_config())
    resumed.restore(through_json(trainer.state()))
    groups = [t.optimizer.param_groups[0] for t in (trainer, resumed)]
    first, second = ({k: v for k, v in g.items() if k != "params"} for g in groups)
    assert first == second


def _with_array(name: str, array: Any) -> Any:
    return lambda state: replace(state, arrays={**state.arrays, name: array})


def _without(prefix: str) -> Any:
    return lambda state: replace(
        state, arrays={n: a for n, a in state.arrays.items() if not n.startswith(prefix)}
    )


def _with_guards(**changes: Any) -> Any:
    return lambda state: replace(
        state, scalars={**state.scalars, "guards": state.scalars["guards"] | changes}
    )


_TOO_MANY = {
    "guards.canary.hidden_states": np.ones((65, 24), np.float32),
    "guards.canary.sample_weights": np.ones(65, np.float32),
}
_ANCHOR = {"first": 1.0, "best": 1.0, "age": 0}


def _with_group(**changes: Any) -> Any:
    def change(state: TrainerState) -> TrainerState:
        (group,) = state.scalars["groups"]
        return replace(state, scalars={**state.scalars, "groups": [group | changes]})

    return change


WRONG = {
    "no weights": _without("layer."),
    "one moment missing": _without("optimizer.Q_reduced.exp_avg_sq"),
    "extra array": _with_array("layer.other", np.zeros(2, np.float32)),
    "extra moment": _with_array("optimizer.Q_reduced.max", np.zeros((6, 24), np.float32)),
    "moment of another parameter": _with_array("optimizer.bias.exp_avg", np.zeros(6, np.float32)),
    "other shape": _with_array("layer.Q_reduced", np.zeros((6, 25), np.float32)),
    "shape that broadcasts": _with_array("layer.Q_reduced", np.zeros((1, 24), np.float32)),
    "other dtype": _with_array("layer.Q_reduced", np.zeros((6, 24), np.float64)),
    "object dtype": _with_array("layer.Q_reduced", np.zeros((6, 24), object)),
    "step of another shape": _with_array("optimizer.Q_reduced.step", np.ones(1, np.float32)),
    "NaN weight": _with_array("layer.Q_reduced", np.full((6, 24), np.nan, np.float32)),
    "infinite moment": _with_array(
        "optimizer.Q_reduced.exp_avg_sq", np.full((6, 24), np.inf, np.float32)
    ),
    "no scalars": lambda state: replace(state, scalars={}),
    "another optimizer": lambda state: replace(
        state, scalars={**state.scalars, "optimizer": "AdamW"}
    ),
    "two groups": lambda state: replace(
        state, scalars={**state.scalars, "groups": state.scalars["groups"] * 2}
    ),
    "groups of another kind": lambda state: replace(state, scalars={**state.scalars, "groups": 3}),
    "other parameters": _with_group(parameters=["bias"]),
    "unknown argument": _with_group(momentum=0.5),
    "other flag": _with_group(amsgrad=True),
    "number as a flag": _with_group(amsgrad=0),
    "flag as a number": _with_group(eps=True),
    "learning rate out of range": _with_group(lr=1e30),
    "NaN in betas": _with_group(betas=[0.9, float("nan")]),
    "third beta": _with_group(betas=[0.9, 0.9, 0.9]),
    "guards of another kind": lambda state: replace(state, scalars={**state.scalars, "guards": 3}),
    "unknown guard": _with_guards(other=1),
    "baseline that is not finite": _with_guards(
        baselines={"mse": {"loss": {"count": 1, "mean": float("inf"), "peak": 1.0}}}
    ),
    "negative count": _with_guards(baselines={"mse": {"loss": {"count": -1}}}),
    "canary of other rows": _with_guards(rows=3),
    "canary of more rows than the config's": lambda state: _with_guards(rows=65)(
        replace(state, arrays={**state.arrays, **_TOO_MANY})
    ),
    "anchor of an incomplete canary": _with_guards(anchor=_ANCHOR),
    "NaN in the anchor": _with_guards(anchor=_ANCHOR | {"best": float("nan")}),
    "canary without its weights": _without("guards.canary.sample_weights"),
    "canary with targets": _with_array("guards.canary.targets", np.zeros((12, 6), np.float32)),
    "canary of another width": _with_array(
        "guards.canary.hidden_states", np.zeros((12, 25), np.float32)
    ),
    "NaN in the canary": _with_array(
        "guards.canary.hidden_states", np.full((12, 24), np.nan, np.float32)
    ),
    "version 0": lambda state: replace(state, version=0),
    "negative step": lambda state: replace(state, step=-1),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_state_that_does_not_fit_is_refused_and_nothing_is_loaded(change: Any) -> None:
    state = train(Trainer(make_config()), range(3)).state()
    trainer = train(Trainer(make_config()), range(50, 52))
    before = bits(trainer.state())
    with pytest.raises(ArtifactInvalid) as refusal:
        trainer.restore(change(state))
    assert refusal.value.code == "artifact_incompatible"
    assert bits(trainer.state()) == before


def test_state_before_the_first_step_is_restored_over_a_trained_one() -> None:
    fresh = Trainer(make_config()).state()
    trainer = train(Trainer(make_config()), range(3))
    trainer.restore(fresh)
    assert bits(trainer.state()) == bits(fresh)


def test_adagrad_without_its_first_sums_is_refused() -> None:
    config = make_config(optimizer={"type": "Adagrad"})
    with pytest.raises(ArtifactInvalid, match="no array"):
        Trainer(config).restore(_without("optimizer.")(Trainer(config).state()))
