"""What torch does silently (each measured), and what stands between it and a model."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

from app.codecs.dtypes import FLOAT64, to_float32
from app.config import parse_config
from app.errors import ConfigInvalid, StepRejected, Unacceptable
from app.layers import build, folded
from app.layers.orthonormal import sign_fixed_qr
from app.training.guards.finite import check_loss, check_weights
from app.training.optimizers import build_optimizer
from app.training.trainer import Trainer
from app.types import Batch, Configure, TrainStep
from tests.unit.training.examples import (
    INPUT_SIZE,
    N_COMPONENTS,
    make_config,
    make_rows,
    one_thread,
)

__all__ = ["one_thread"]


def make_parameter() -> nn.Parameter:
    return nn.Parameter(torch.ones(2, 2))


RATES: list[tuple[str, Any]] = [
    *(("Adam", rate) for rate in (math.inf, 1e30, True)),
    *(("SGD", rate) for rate in (math.nan, math.inf, 1e30, True)),
]


@pytest.mark.parametrize(("name", "rate"), RATES)
def test_torch_takes_learning_rates_that_destroy_a_model_and_we_do_not(
    name: str, rate: Any
) -> None:
    assert getattr(torch.optim, name)([make_parameter()], lr=rate) is not None
    config = make_config(optimizer={"type": name, "lr": 0.1})
    document = config.optimizer.model_copy(update={"__pydantic_extra__": {"lr": rate}})
    with pytest.raises(ConfigInvalid):
        build_optimizer(document, make_layer())
    if rate is not True:
        with pytest.raises(ConfigInvalid):
            Trainer(config).apply(Configure(learning_rates=(rate,)))


@pytest.mark.parametrize("rate", [math.nan, -1.0])
def test_adam_itself_refuses_nan_and_negative_rates(rate: float) -> None:
    with pytest.raises(ValueError, match="learning rate"):
        torch.optim.Adam([make_parameter()], lr=rate)


@pytest.mark.parametrize("shape", [(16, 1), (1, N_COMPONENTS), (16,)])
def test_torch_broadcasts_targets_and_we_refuse_them(shape: tuple[int, ...]) -> None:
    with pytest.warns(UserWarning, match="broadcasting"):
        F.mse_loss(torch.ones(8, 1), torch.ones(8))
    assert (torch.ones(8, 4) - torch.ones(1, 4)).shape == (8, 4)  # without a word
    batch = Batch(hidden_states=make_rows(0), targets=np.ones(shape, np.float32))
    with pytest.raises(Unacceptable) as refusal:
        Trainer(make_config("mse")).train(TrainStep(batch=batch))
    assert refusal.value.code == "target_shape_mismatch"


def _ignored_labels() -> torch.Tensor:
    return F.cross_entropy(torch.ones(2, 3), torch.tensor([-100, -100]))


def _no_rows() -> torch.Tensor:
    return torch.ones(0, 3).mean()


@pytest.mark.parametrize("loss", [_ignored_labels, _no_rows])
def test_torch_returns_nan_for_a_loss_over_nothing_and_we_refuse_it(
    loss: Callable[[], torch.Tensor],
) -> None:
    assert loss().isnan()
    with pytest.raises(StepRejected):
        check_loss(loss())


@pytest.mark.parametrize("label", [3, -1])
def test_torch_refuses_other_labels_itself(label: int) -> None:
    with pytest.raises(IndexError):
        F.cross_entropy(torch.ones(1, 3), torch.tensor([label]))


@pytest.mark.parametrize("loss", ["similarity", "reconstruction"])
def test_a_batch_without_rows_is_refused(loss: str) -> None:
    batch = Batch(hidden_states=np.empty((0, INPUT_SIZE), np.float32))
    trainer = Trainer(make_config(loss))
    with pytest.raises(StepRejected) as refusal:
        trainer.train(TrainStep(batch=batch))
    assert (refusal.value.reason, trainer.version) == ("non_finite_loss", 1)


def test_narrowing_makes_infinity_and_we_refuse_it() -> None:
    assert torch.tensor(70_000.0).half().isinf()
    assert torch.tensor(1e39, dtype=torch.float64).float().isinf()
    with pytest.raises(Unacceptable) as refusal:
        to_float32(np.array([1.0, 1e39]), FLOAT64, pointer="/hidden_states")
    assert refusal.value.code == "out_of_range"


def test_qr_of_nan_is_nan_without_an_error_and_we_refuse_the_weight() -> None:
    poisoned = torch.full((3, 4), math.nan)
    assert torch.linalg.qr(poisoned).Q.isnan().all()
    layer = make_layer("qr")
    with torch.no_grad():
        layer.get_parameter("Q_reduced").copy_(sign_fixed_qr(poisoned.new_full((6, 24), math.nan)))
    with pytest.raises(StepRejected):
        check_weights(layer)


def test_svd_of_nan_raises() -> None:
    with pytest.raises(RuntimeError):
        torch.linalg.svd(torch.full((3, 4), math.nan))


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.float16])
def test_torch_multiplies_no_other_dtype_and_we_convert(dtype: type[Any]) -> None:
    rows = (make_rows(0) * 4).astype(dtype)
    with pytest.raises(RuntimeError):
        torch.tensor(rows) @ torch.ones(INPUT_SIZE, 2)
    batch: Any = Batch(hidden_states=rows)  # what no codec gives
    assert Trainer(make_config()).train(TrainStep(batch=batch)).rows == 16


def test_torch_reads_a_request_body_at_any_offset_and_we_copy_it() -> None:
    body = b"x" + make_rows(0).tobytes()
    assert torch.frombuffer(bytearray(body), dtype=torch.float32, offset=1).data_ptr() % 4
    rows = np.frombuffer(body, np.float32, offset=1).reshape(16, INPUT_SIZE)
    aligned, given = (Trainer(make_config()) for _ in range(2))
    assert given.train(TrainStep(batch=Batch(hidden_states=rows))) == aligned.train(
        TrainStep(batch=Batch(hidden_states=make_rows(0)))
    )


def test_torch_saves_the_whole_storage_of_a_view_and_we_never_keep_one() -> None:
    sizes = []
    whole = torch.zeros(100_000)
    for part in (whole[:10], whole[:10].clone()):
        file = io.BytesIO()
        torch.save(part, file)
        sizes.append(file.tell())
    assert sizes[0] > 100 * sizes[1]
    tensor = folded(make_layer())["Q_reduced"]
    assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_safetensors_refuses_what_shares_memory_or_has_strides() -> None:
    whole = torch.zeros(4, 4)
    with pytest.raises(RuntimeError, match="share memory"):
        safetensors.torch.save({"a": whole, "b": whole})
    with pytest.raises(ValueError, match="non contiguous"):
        safetensors.torch.save({"a": whole[:, :2]})


def make_layer(parametrization: str = "none") -> nn.Module:
    document = make_config(parametrization=parametrization).model_dump()
    return build(parse_config(document))
