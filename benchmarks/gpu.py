"""`python -m benchmarks.gpu` (or `make bench-gpu`): the engine's work on the CPU and on CUDA.

In process, without HTTP: a reduce as `/reduce` computes it (host array in, host array out; on CUDA
by way of pinned memory that is kept), the same by way of ordinary memory, 64 requests together that
share its rows, the bare product on tensors that are on the device already, a whole train step, a
plain loop's step, and the copies between host and device, which no reduce can do without. The last
table says how much of the pinned copies' speed a reduce reaches, in and out together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import click
import numpy as np
import torch
from torch import Tensor

from app.config import parse_config
from app.engine.multiplier import HostMultiplier
from app.engine.snapshot import Snapshot
from app.engine.staged import StagedMultiplier
from app.training.trainer import Trainer
from app.types import Batch, TrainStep
from benchmarks.in_process import Learner
from benchmarks.work import INPUT_SIZE, N_COMPONENTS, batch, model_config, weights

ROWS = (1, 32, 256, 2048, 16384)
COPIED_BYTES = (1 << 20, 64 << 20)

_WARM_UPS = 5
_MODEL = "bench"
_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class Timing:
    """The median seconds of one piece of work; `num_bytes` when it is a copy, else its `rows`."""

    what: str
    seconds: float
    num_bytes: int = 0
    rows: int = 0


def measure(device: torch.device, *, rows: tuple[int, ...], repeats: int) -> list[Timing]:
    """Reduce, bare product and train step for each number of rows."""
    torch.set_num_threads(1)
    timings = []
    for count in rows:
        for what, work in _works(device, count).items():
            seconds = seconds_each(work, device, repeats=repeats)
            timings.append(Timing(f"{what}, {count} rows", seconds, rows=count))
    return timings


def seconds_each(work: Callable[[], object], device: torch.device, *, repeats: int) -> float:
    """The median time of one call, to the end of what it started on the device."""
    for _ in range(_WARM_UPS):
        work()
    clock = _cuda_seconds if device.type == "cuda" else _host_seconds
    return median(clock(work) for _ in range(repeats))


def copy_bandwidths(device: torch.device, *, repeats: int) -> list[Timing]:
    """Copies to and from the device, from ordinary and from pinned memory."""
    timings = []
    for size in COPIED_BYTES:
        there = torch.empty(size, dtype=torch.uint8, device=device)
        for kind, pinned in (("pageable", False), ("pinned", True)):
            here = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
            for what, target, source in (("to", there, here), ("from", here, there)):
                seconds = seconds_each(_copy(target, source), device, repeats=repeats)
                name = f"copy {what} the device, {kind}, {size >> 20} MiB"
                timings.append(Timing(name, seconds, size))
    return timings


def table(cpu: list[Timing], cuda: list[Timing], copies: list[Timing]) -> str:
    """Markdown: each piece of work on both devices, then the copies."""
    lines = ["| work | CPU us | CUDA us | CPU / CUDA |", "|---|---|---|---|"]
    for host, device in zip(cpu, cuda, strict=True):
        ratio = host.seconds / device.seconds
        lines.append(
            f"| {host.what} | {host.seconds * 1e6:,.1f} | {device.seconds * 1e6:,.1f} "
            f"| {ratio:.2f} |"
        )
    lines += ["", "| copy | GB/s | us |", "|---|---|---|"]
    for copy in copies:
        speed = copy.num_bytes / copy.seconds / 1e9
        lines.append(f"| {copy.what} | {speed:.1f} | {copy.seconds * 1e6:,.1f} |")
    return "\n".join([*lines, "", *_shares(cuda, copies)])


def _shares(cuda: list[Timing], copies: list[Timing]) -> list[str]:
    """How long the two transfers of a reduce would take at the speed of the largest pinned copies.

    That share of the reduce is spent where no code could save anything.
    """
    pinned = [copy for copy in copies if "pinned" in copy.what][-2:]
    to_s, from_s = (copy.seconds / copy.num_bytes for copy in pinned)
    lines = ["| reduce on CUDA | us | its two pinned copies, us | share |", "|---|---|---|---|"]
    for timing in cuda:
        if timing.what.startswith("reduce") and timing.rows:
            copied = timing.rows * 4 * (INPUT_SIZE * to_s + N_COMPONENTS * from_s)
            lines.append(
                f"| {timing.what} | {timing.seconds * 1e6:,.1f} | {copied * 1e6:,.1f} "
                f"| {copied / timing.seconds:.0%} |"
            )
    return lines


@click.command()
@click.option("--repeats", default=100, show_default=True, help="calls of each piece of work")
def main(repeats: int) -> None:
    """Measure the same layer on the CPU and on CUDA."""
    if not torch.cuda.is_available():
        build = torch.version.cuda or "without CUDA"
        click.echo(
            f"Nothing was measured: torch {torch.__version__} (built {build}) finds no CUDA "
            "device, and a CPU alone has nothing to be compared with. On a machine with one, "
            "install CUDA wheels (make install TORCH_INDEX=...) and run this again."
        )
        return
    cuda = torch.device("cuda")
    click.echo(f"{torch.cuda.get_device_name(cuda)}, torch {torch.__version__}; one CPU thread\n")
    on_cpu = measure(torch.device("cpu"), rows=ROWS, repeats=repeats)
    on_cuda = measure(cuda, rows=ROWS, repeats=repeats)
    click.echo(table(on_cpu, on_cuda, copy_bandwidths(cuda, repeats=repeats)))


def _works(device: torch.device, rows: int) -> dict[str, Callable[[], object]]:
    arrays = batch(rows, with_targets=True)
    hidden_states = arrays["hidden_states"]
    config = parse_config(model_config())
    serving = {"Q_reduced": torch.from_numpy(weights()).to(device)}
    snapshot = Snapshot(_MODEL, 1, 0, config, serving, torch.float32)
    through_pageable = HostMultiplier()
    multiplier = StagedMultiplier(device) if device.type == "cuda" else through_pageable
    parts = np.array_split(hidden_states, min(_TOGETHER, rows))
    resident = torch.from_numpy(hidden_states).to(device)
    trainer = Trainer(config, device=device)
    step = TrainStep(batch=Batch(**arrays))
    plain = Learner(rows, device)
    return {
        "reduce": lambda: multiplier.multiply(snapshot, [hidden_states]),
        "reduce, ordinary memory": lambda: through_pageable.multiply(snapshot, [hidden_states]),
        f"reduce, {len(parts)} requests": lambda: multiplier.multiply(snapshot, parts),
        "product on the device": lambda: torch.nn.functional.linear(resident, serving["Q_reduced"]),
        "train step": lambda: trainer.train(step),
        "plain step": plain.step,
    }


def _copy(target: Tensor, source: Tensor) -> Callable[[], Tensor]:
    return lambda: target.copy_(source, non_blocking=True)


def _host_seconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


def _cuda_seconds(work: Callable[[], object]) -> float:
    begin, end = _event(), _event()
    torch.cuda.synchronize()
    begin.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end)) / 1e3


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's own


if __name__ == "__main__":
    main()
