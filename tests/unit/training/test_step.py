"""The places inside a step where a test of a whole server can end the process."""

from __future__ import annotations

import os
import signal
from typing import NoReturn

import pytest

from app.failpoints import arm
from app.training.trainer import Trainer
from tests.unit.training.examples import make_config, make_step, one_thread

__all__ = ["one_thread"]

POINTS = ["step.before_forward", "step.after_backward", "step.after_optim", "guard.after"]


@pytest.mark.parametrize("hits", [1, 2])
@pytest.mark.parametrize("point", POINTS)
def test_a_step_reaches_the_point_once(point: str, hits: int) -> None:
    child = os.fork()
    if not child:  # armed points stay in the process, so this is another one
        _train_armed(f"{point}=kill:{hits}")
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if hits == 1 else 0)


def _train_armed(specification: str) -> NoReturn:
    exit_code = 1
    try:
        arm(specification)
        Trainer(make_config()).train(make_step())
        exit_code = 0
    finally:
        os._exit(exit_code)
