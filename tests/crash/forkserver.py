"""Runs in a process of its own: imports torch and the app once, then forks a process a trial.

A fork is ready in a fraction of the seconds that imports take. It is sound because this process
has one thread and has never run a backward pass (torch refuses to fork autograd's threads).
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Fork what the rig orders on the socket whose number is the first argument."""
    control = socket.socket(fileno=int(sys.argv[1]))
    _preload()
    control.send(b"{}")
    while True:
        message, descriptors, *_ = socket.recv_fds(control, 65_536, 2)
        if not message:
            return
        order = json.loads(message)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            answer = {"pid": _fork(order, descriptors)}
        control.send(json.dumps(answer).encode())


def _preload() -> None:
    for name in ("app.api.server", "app.cli", "app.main", "uvloop", "uvicorn.lifespan.on"):
        import_module(name)
    import torch

    from app.config import ModelConfig
    from app.training.trainer import Trainer

    torch.set_num_threads(1)
    layers = [{"type": "QRReduction", "n_components": 2}]
    Trainer(ModelConfig.model_validate({"input_size": 4, "layers": layers, "recipe": "plain"}))
    gc.freeze()


def _fork(order: dict[str, Any], descriptors: list[int]) -> int:
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"expected one thread before a fork, found {threads}"
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _run(parent, order, *descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    return pid


def _run(parent: int, order: dict[str, Any], stderr: int, gate: int) -> NoReturn:
    """Be `slimvec …`; begins when the gate is opened, ends with this process' parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.dup2(stderr, 2)
    os.read(gate, 1)
    os.environ.update(order["environment"])
    code = 1
    try:
        for name in order["before"]:
            _BEFORE[name]()
        code = _slimvec(order["arguments"])
    finally:
        sys.stderr.flush()
        os._exit(code)


def _slimvec(arguments: list[str]) -> int:
    from app.cli import main as slimvec

    try:
        slimvec.main(arguments, prog_name="slimvec")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _known_names() -> None:
    """Give temporary files the same names in every run, so that strace can be told of them."""
    os.urandom = lambda size: b"\x07" * size


def _without_sync() -> None:
    """Break the product's promise: its journal writes, and never waits for the disk."""

    class Unsynced(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            return super().execute(_unsynced(sql), *parameters)

        def executescript(self, sql_script: str) -> sqlite3.Cursor:
            return super().executescript(_unsynced(sql_script))

    connect = sqlite3.connect
    # The product passes no factory of its own.
    sqlite3.connect = lambda *args, **kw: connect(*args, **{**kw, "factory": Unsynced})


def _unsynced(sql: str) -> str:
    return sql.replace("synchronous=FULL", "synchronous=OFF").replace(
        "synchronous = FULL", "synchronous = OFF"
    )


_BEFORE: dict[str, Callable[[], None]] = {
    "known_names": _known_names,
    "without_sync": _without_sync,
}


if __name__ == "__main__":
    main()
