from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from app.config import parse_config
from app.errors import (
    ArtifactInvalid,
    ConfigInvalid,
    PreconditionFailed,
    SlimvecError,
    StepRejected,
    TooLarge,
    Unacceptable,
)
from app.layers import orthonormality_error
from app.training.optimizers import OPTIMIZERS
from app.training.trainer import StepOutcome, Trainer
from app.types import Batch, TrainStep
from tests.unit.training.examples import (
    INPUT_SIZE,
    N_COMPONENTS,
    bits,
    make_config,
    make_rows,
    make_step,
    one_thread,
    train,
)

__all__ = ["one_thread"]


def test_seed_decides_the_initial_weights() -> None:
    config = make_config()
    same, other = Trainer(config), Trainer(config.model_copy(update={"seed": 6}))
    first = Trainer(config).serving()["Q_reduced"]
    assert torch.equal(first, same.serving()["Q_reduced"])
    assert not torch.equal(first, other.serving()["Q_reduced"])


def test_outcome_tells_loss_norm_rates_and_rows() -> None:
    groups = [{"match": "bias", "lr": 0.25}]
    config = make_config("mse", {"type": "SGD", "lr": 0.5, "groups": groups}, bias=True)
    trainer = Trainer(config)
    q, step = trainer.serving()["Q_reduced"].requires_grad_(), make_step(0, "mse")
    x, t = torch.tensor(step.batch.hidden_states), torch.tensor(step.batch.targets)
    value = F.mse_loss(x @ q.T, t)
    value.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    bias_gradient = 2 * (x @ q.T - t).mean(dim=0) / N_COMPONENTS
    assert q.grad is not None
    norm = torch.cat([q.grad.ravel(), bias_gradient]).norm().item()
    outcome = trainer.train(step)
    assert outcome == StepOutcome(
        loss=value.item(),
        grad_norm=outcome.grad_norm,
        learning_rates=(0.25, 0.5),
        rows=16,
    )
    assert outcome.grad_norm == pytest.approx(norm, rel=1e-5)  # float32 sums in another order


def test_accepted_step_raises_version_and_step_by_one() -> None:
    trainer = Trainer(make_config())
    assert (trainer.version, trainer.step) == (1, 0)
    train(trainer, range(3))
    assert (trainer.version, trainer.step) == (4, 3)


@pytest.mark.parametrize("name", ["SGD", "Adam", "Signum", "Muon"])
def test_training_lowers_the_loss(name: str) -> None:
    trainer = Trainer(make_config(optimizer={"type": name, "lr": 1e-2}))
    losses = [trainer.train(make_step(0)).loss or 0.0 for _ in range(50)]
    assert 0 < losses[-1] < losses[0]


def test_leading_dimensions_are_rows() -> None:
    flat, stacked = Trainer(make_config()), Trainer(make_config())
    rows = make_rows(0)
    flat.train(TrainStep(batch=Batch(hidden_states=rows)))
    outcome = stacked.train(TrainStep(batch=Batch(hidden_states=rows.reshape(2, 8, INPUT_SIZE))))
    assert outcome.rows == 16
    assert bits(flat.state()) == bits(stacked.state())


def test_one_vector_without_leading_dimensions_is_one_row() -> None:
    rows, targets = make_rows(0)[0], make_rows(1)[0, :N_COMPONENTS]
    batch = Batch(hidden_states=rows, targets=targets, sample_weights=np.array(2, np.float32))
    assert Trainer(make_config("mse")).train(TrainStep(batch=batch)).rows == 1


def test_step_may_name_another_loss() -> None:
    one, other = Trainer(make_config("similarity")), Trainer(make_config("reconstruction"))
    assert one.train(make_step(0, "reconstruction")) == other.train(
        TrainStep(batch=make_step(0).batch)
    )


@pytest.mark.parametrize("layout", ["read-only", "strided", "reversed", "fortran"])
def test_input_of_any_layout_is_read_without_a_warning_and_never_written(layout: str) -> None:
    rows = make_rows(0)
    given = {
        "read-only": np.frombuffer(rows.tobytes(), np.float32).reshape(rows.shape),
        "strided": np.repeat(rows, 2, axis=1)[:, ::2],
        "reversed": rows[::-1].copy()[::-1],
        "fortran": np.asfortranarray(rows),
    }[layout]
    trainer = Trainer(make_config())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = trainer.train(TrainStep(batch=Batch(hidden_states=given)))
    assert outcome == Trainer(make_config()).train(make_step(0))
    assert np.array_equal(given, rows)


# finite, and overflows in the forward product
CONSTANT = TrainStep(batch=Batch(hidden_states=np.full((16, INPUT_SIZE), 3e38, np.float32)))

# more bytes than there are addresses: nothing of it can have been copied
ENDLESS = np.broadcast_to(np.float32(1), (2**45, INPUT_SIZE))

BAD_STEPS: list[tuple[str, TrainStep, type[SlimvecError], str]] = [
    ("mse", make_step(0, scale=1e19), Unacceptable, "missing_field"),
    ("mse", make_step(0, "mse", 1e25), StepRejected, "non_finite_loss"),
    ("reconstruction", make_step(0, "reconstruction", 1e19), StepRejected, "non_finite_loss"),
    ("reconstruction", make_step(0, "reconstruction", 1e30), StepRejected, "non_finite_loss"),
    ("reconstruction", make_step(0, "reconstruction", 1e18), StepRejected, "non_finite_gradient"),
    ("similarity", CONSTANT, StepRejected, "non_finite_loss"),
    ("similarity", TrainStep(batch=Batch(hidden_states=ENDLESS)), TooLarge, "too_many_rows"),
    ("similarity", replace(make_step(), if_version=7), PreconditionFailed, "version_mismatch"),
    ("similarity", replace(make_step(), if_version=1), PreconditionFailed, "version_mismatch"),
]


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize(("loss", "step", "error", "word"), BAD_STEPS)
def test_refused_step_leaves_everything_as_it_was(
    loss: str, step: TrainStep, error: type[SlimvecError], word: str, before: int
) -> None:
    trainer = train(Trainer(make_config(loss)), range(before), loss)
    trainer.version += 1  # so that version 1 is never the right one
    wanted = bits(trainer.state())
    with pytest.raises(error) as refusal:
        trainer.train(replace(step, loss=None))
    assert word in {refusal.value.code, getattr(refusal.value, "reason", None)}
    assert bits(trainer.state()) == wanted
    assert all(p.grad is None for p in trainer.layer.parameters())


@pytest.mark.parametrize(("loss", "step", "error", "word"), BAD_STEPS)
def test_a_savepoint_that_is_there_undoes_a_refused_step(
    loss: str, step: TrainStep, error: type[SlimvecError], word: str
) -> None:
    del word
    trainer = train(Trainer(make_config(loss)), range(2), loss)
    before, wanted = trainer.savepoint(), bits(trainer.state())
    with pytest.raises(error):
        trainer.apply(replace(step, loss=None, if_version=step.if_version and 99), undo=before)
    assert bits(trainer.state()) == wanted


def test_unknown_loss_in_a_step_is_refused() -> None:
    trainer = Trainer(make_config())
    step = make_step()
    with pytest.raises(ConfigInvalid):
        trainer.train(replace(step, loss=step.loss and step.loss.model_copy(update={"type": "x"})))


def test_moment_that_overflows_after_some_steps_is_refused_and_training_goes_on() -> None:
    trainer = Trainer(make_config("mse", {"type": "Adagrad", "lr": 1e-3}))
    huge = make_step(0, "mse", 3e9)  # its squared gradients fit into float32, some sums do not
    for _ in range(57):
        trainer.train(huge)
    before = bits(trainer.state())
    with pytest.raises(StepRejected) as refusal:
        trainer.train(huge)
    assert refusal.value.reason == "non_finite_optimizer_state"
    assert bits(trainer.state()) == before
    trainer.train(make_step(1, "mse"))


@pytest.mark.parametrize("scale", [1e-30, 1e6, 1e19])
def test_similarity_learns_from_hidden_states_of_any_scale(scale: float) -> None:
    plain, scaled = Trainer(make_config()), Trainer(make_config())
    for seed in range(5):
        plain.train(make_step(seed))
        scaled.train(make_step(seed, scale=scale))
    # float32 rounding of the scaled rows, through Adam's division by the gradient's own size
    assert torch.allclose(plain.serving()["Q_reduced"], scaled.serving()["Q_reduced"], atol=1e-4)


def test_weights_that_overflow_in_the_step_are_refused_and_undone() -> None:
    decay = {"type": "SGD", "lr": 100.0, "weight_decay": 3e38}
    trainer = Trainer(make_config("similarity", decay))
    wanted = bits(trainer.state())
    with pytest.raises(StepRejected) as refusal:
        trainer.train(make_step())
    assert refusal.value.reason == "non_finite_weight"
    assert bits(trainer.state()) == wanted


def test_weights_that_a_retraction_would_hide_are_refused() -> None:
    document = make_config("reconstruction", parametrization="orthogonal").model_dump()
    document |= {"input_size": 1, "optimizer": {"type": "SGD", "lr": 100.0, "weight_decay": 3e38}}
    document["layers"][0]["n_components"] = 1  # nothing but a diagonal, which becomes its signs
    trainer = Trainer(parse_config(document))
    with pytest.raises(StepRejected) as refusal:
        trainer.train(TrainStep(batch=Batch(hidden_states=make_rows(0, width=1))))
    assert refusal.value.reason == "non_finite_weight"


@pytest.mark.parametrize("parametrization", ["none", "qr", "orthogonal"])
def test_exception_from_torch_leaves_everything_as_it_was(parametrization: str) -> None:
    trainer = train(Trainer(make_config(parametrization=parametrization)), range(2))
    wanted = bits(trainer.state())
    with pytest.raises(RuntimeError):
        trainer.train(TrainStep(batch=Batch(hidden_states=make_rows(0, width=7))))
    assert bits(trainer.state()) == wanted


@pytest.mark.parametrize("name", list(OPTIMIZERS))
@pytest.mark.parametrize("parametrization", ["qr", "orthogonal"])
def test_parametrization_holds_after_each_step(parametrization: str, name: str) -> None:
    trainer = Trainer(make_config(optimizer={"type": name}, parametrization=parametrization))
    for seed in range(5):
        trainer.train(make_step(seed))
        # float32 rounding of a QR or of Householder products
        assert orthonormality_error(trainer.serving()["Q_reduced"]) < 1e-5


def test_serving_tensors_do_not_change_with_later_steps() -> None:
    trainer = Trainer(make_config())
    serving = trainer.serving()["Q_reduced"]
    before = serving.clone()
    train(trainer, range(3))
    assert torch.equal(serving, before)
    assert not torch.equal(trainer.serving()["Q_reduced"], before)


def test_assign_sets_the_weights_from_read_only_arrays() -> None:
    weights = np.linalg.qr(make_rows(3))[1][:N_COMPONENTS].astype(np.float32)
    weights.setflags(write=False)
    trainer = Trainer(make_config())
    trainer.assign({"Q_reduced": weights})
    assert np.array_equal(trainer.serving()["Q_reduced"], weights)


def test_assign_of_other_shapes_is_refused_and_sets_nothing() -> None:
    trainer = Trainer(make_config())
    wanted = bits(trainer.state())
    with pytest.raises(ArtifactInvalid):
        trainer.assign({"Q_reduced": make_rows(0)})
    assert bits(trainer.state()) == wanted
