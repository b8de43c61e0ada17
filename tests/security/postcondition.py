"""What every row of the catalogue leaves behind: nothing (robustness.md section 4)."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.conftest import MODELS
from tests.security.catalogue.request import GOLDEN
from tests.server import RunningServer

_MOST_GROWTH = 32 << 20
_PATIENCE_S = 10.0  # for what the server does after its answer: the other end of a closed socket
_PAGE = os.sysconf("SC_PAGE_SIZE")

# float32 sums in another order than numpy's float64: a few units in the last place of 8 terms,
# each of magnitude at most the largest input.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Standing:
    """What a server knows; two moments between which nothing changed compare equal.

    Attributes:
        names: of all models, in order.
        models: of each known one, its state digest, step, version and position in the journal.
        journals: of each known one, the bytes of its journal file.
        keys: of each known one, how many Idempotency-Keys it remembers.
    """

    names: tuple[str, ...]
    models: dict[str, Any]
    journals: dict[str, int]
    keys: dict[str, int]


@contextmanager
def nothing_remains(
    server: RunningServer, caplog: pytest.LogCaptureFixture, *, known: tuple[str, ...] = (*MODELS,)
) -> Iterator[None]:
    """Assert that what is done within the block leaves the server as it was.

    State digest, step, journal and keys of the `known` models are unchanged; memory, sockets and
    admission come back; a request after it is answered right; nothing above WARNING is logged.

    Args:
        server: of the test.
        caplog: of the test.
        known: the models that must not change.
    """
    assert_golden(server)  # opens the client's connection, if it was closed
    before, sockets, resident = standing(server, known), open_sockets(), resident_bytes()
    yield
    assert_golden(server)
    assert standing(server, known) == before
    _await_rest(server, sockets)
    _assert_memory_came_back(resident)
    severe = [record for record in caplog.records if record.levelno > logging.WARNING]
    assert not severe, [record.getMessage() for record in severe]


def standing(server: RunningServer, known: tuple[str, ...]) -> Standing:
    """What the server knows now."""
    histories = server.service.histories
    return Standing(
        names=tuple(model["model"] for model in server.http.get("/models").json()["models"]),
        models={name: server.http.get(f"/models/{name}/state").json() for name in known},
        journals={name: histories[name].num_bytes for name in known},
        keys={name: len(histories[name].keys) for name in known},
    )


def assert_golden(server: RunningServer) -> None:
    """Assert that an ordinary request is answered with the right numbers."""
    answer = server.http.post("/reduce", json={"hidden_states": GOLDEN.tolist()})
    assert answer.status_code == 200, answer.text
    assert_product(server, GOLDEN, answer)


def assert_product(
    server: RunningServer, hidden_states: NDArray[Any], answer: httpx.Response
) -> None:
    """Assert that an answer is `hidden_states @ Q_reduced.T` of the model `small`."""
    weights = load_file(server.models_dir / "small" / "1" / "model.safetensors")["Q_reduced"]
    expected = hidden_states.astype(np.float64) @ weights.T.astype(np.float64)
    reduced = np.array(answer.json()["reduced"])
    scale = max(1.0, float(np.abs(hidden_states).max()))
    np.testing.assert_allclose(reduced, expected, rtol=0, atol=_ROUNDING * 8 * scale)
    assert reduced.shape == expected.shape == tuple(answer.json()["shape"])


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def _await_rest(server: RunningServer, sockets: int) -> None:
    """Assert that sockets and tickets come back, which takes a moment after the answer."""
    patience = monotonic() + _PATIENCE_S
    admission = server.service.admission
    while admission.in_flight or admission.num_bytes or open_sockets() > sockets:
        held = admission.in_flight, admission.num_bytes, open_sockets()
        assert monotonic() < patience, f"requests, bytes, sockets: {held}, before {sockets}"
        sleep(0.005)


def _assert_memory_came_back(before: int) -> None:
    if resident_bytes() - before < _MOST_GROWTH:
        return
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps for the next request
    assert resident_bytes() - before < _MOST_GROWTH


def open_sockets() -> int:
    """Sockets of this process: it holds the server, its client and the row's own."""
    number = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            number += str(descriptor.readlink()).startswith("socket:")
    return number
