from __future__ import annotations

import pytest
import torch

from app.training.trainer import Trainer
from tests.unit.training.examples import bits, make_config, one_thread, train

__all__ = ["one_thread"]


def pointers(trainer: Trainer) -> dict[str, int]:
    return {name: p.data_ptr() for name, p in trainer.layer.named_parameters()}


@pytest.mark.parametrize("parametrization", ["none", "qr", "orthogonal"])
@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("name", ["Adam", "Adagrad", "LBFGS", "SGD"])
def test_restore_undoes_steps_bit_for_bit(name: str, before: int, parametrization: str) -> None:
    config = make_config(optimizer={"type": name}, parametrization=parametrization)
    trainer = train(Trainer(config), range(before))
    wanted, places = bits(trainer.state()), pointers(trainer)
    savepoint = trainer.savepoint()
    train(trainer, range(10, 13))
    assert bits(trainer.state()) != wanted
    savepoint.restore()
    assert (bits(trainer.state()), pointers(trainer)) == (wanted, places)


def test_restored_trainer_continues_as_if_nothing_had_been() -> None:
    first, second = Trainer(make_config()), Trainer(make_config())
    savepoint = first.savepoint()
    train(first, range(10, 13))
    savepoint.restore()
    assert bits(train(first, range(3)).state()) == bits(train(second, range(3)).state())


def test_optimizer_state_that_was_not_there_is_removed() -> None:
    trainer = Trainer(make_config())
    savepoint = trainer.savepoint()
    train(trainer, [0])
    savepoint.restore()
    assert not trainer.optimizer.state


def test_buffers_and_hyper_parameters_come_back() -> None:
    trainer = Trainer(make_config())
    trainer.layer.register_buffer("seen", torch.zeros(2))
    savepoint = trainer.savepoint()
    trainer.layer.get_buffer("seen").fill_(3)
    trainer.optimizer.param_groups[0]["lr"] = 7.0
    savepoint.restore()
    assert trainer.layer.get_buffer("seen").tolist() == [0.0, 0.0]
    assert trainer.optimizer.param_groups[0]["lr"] == 1e-2


def test_state_cleared_after_the_savepoint_comes_back() -> None:
    trainer = train(Trainer(make_config()), range(2))
    wanted = bits(trainer.state())
    savepoint = trainer.savepoint()
    trainer.optimizer.state.clear()
    savepoint.restore()
    assert bits(trainer.state()) == wanted


def test_taken_again_it_remembers_the_later_state_in_the_same_memory() -> None:
    trainer = train(Trainer(make_config()), range(2))
    savepoint = trainer.savepoint()
    memory = [tensor.data_ptr() for tensor in savepoint.tensors()]
    wanted = bits(train(trainer, range(2, 4)).state())
    savepoint.take()
    train(trainer, range(4, 6))
    savepoint.restore()
    assert bits(trainer.state()) == wanted
    assert [tensor.data_ptr() for tensor in savepoint.tensors()] == memory


def test_restoring_twice_is_restoring_once() -> None:
    trainer = train(Trainer(make_config()), range(2))
    wanted, savepoint = bits(trainer.state()), trainer.savepoint()
    for _ in range(2):
        train(trainer, [5])
        savepoint.restore()
    assert bits(trainer.state()) == wanted
