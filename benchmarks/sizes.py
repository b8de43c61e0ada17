"""One size of request after the other: what a number costs, and what memory is used for it."""

from __future__ import annotations

import http.client
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import orjson
from safetensors.numpy import save

from benchmarks.contenders import Call, ContenderFailed, Server
from benchmarks.rounds import Sample
from benchmarks.work import SAFETENSORS

_KEPT = 32  # components of every model here
_RESET_PEAK = "5"


def size_sample(server: Server, rows: int, width: int, seconds: float) -> Sample:
    """Requests of that size, one at a time, in float32 safetensors; counted in numbers, not rows.

    Linear cost is the same figure for every size.
    """
    model = f"width-{width}"
    _create(server, model, width)
    body = save({"hidden_states": np.ones((rows, width), np.float32)})
    call = Call(f"/models/{model}/reduce", SAFETENSORS, body)
    server.send(call)
    before = _reset_peak(server)
    durations: list[float] = []
    cpu_before, until = server.cpu_seconds(), perf_counter() + seconds
    while (began := perf_counter()) < until or not durations:
        server.send(call)
        durations.append(perf_counter() - began)
    cpu_s = server.cpu_seconds() - cpu_before
    numbers = rows * width
    middle = median(durations)
    return Sample(
        requests_per_s=numbers / middle,
        p50_ms=middle * 1e3,
        p99_ms=max(durations) * 1e3,
        cpu_us=cpu_s / len(durations) / numbers * 1e6,
        load_share=0.0,
        peak_mib=(_memory(server, "VmHWM") - before) / 1024,
    )


def _create(server: Server, model: str, width: int) -> None:
    config = {
        "input_size": width,
        "layers": [{"type": "QRReduction", "n_components": _KEPT, "init": "normal"}],
    }
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("PUT", f"/models/{model}", orjson.dumps(config), headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status not in (201, 409):  # it is there already
        raise ContenderFailed(f"{server.name} answers {answer.status}: {text[:500]!r}")


def _reset_peak(server: Server) -> int:
    """Let the peak begin where the memory is now; in KiB."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text(_RESET_PEAK)
    return _memory(server, "VmRSS")


def _memory(server: Server, field: str) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1])
