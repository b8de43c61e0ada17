"""The device: chosen once at start-up, never per request."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from app.errors import StartupError


@dataclass(frozen=True, slots=True)
class ChosenDevice:
    """A device by its torch name, and why it was chosen (for the banner and `/models/{m}`)."""

    name: str
    reason: str

    @property
    def torch(self) -> torch.device:
        """The torch handle."""
        return torch.device(self.name)


def choose_device(requested: str) -> ChosenDevice:
    """The device for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        StartupError: the requested device is not there (exit code 2).
    """
    if requested == "auto":
        return _best_available()
    kind, _, index = requested.partition(":")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": _has_mps()}[kind]
    if not available:
        raise StartupError(
            "device_unavailable",
            f"device {requested!r} was asked for, but {_why_absent(kind)}; "
            "use --device auto to take what is there, or --device cpu",
        )
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise StartupError(
            "device_unavailable",
            f"device {requested!r} was asked for, but there are only "
            f"{torch.cuda.device_count()} CUDA devices (numbered from 0)",
        )
    name = f"cuda:{index or 0}" if kind == "cuda" else kind
    return ChosenDevice(name, "asked for")


def _best_available() -> ChosenDevice:
    if torch.cuda.is_available():
        return ChosenDevice("cuda:0", f"auto: found {torch.cuda.get_device_name(0)}")
    if _has_mps():
        return ChosenDevice("mps", "auto: found Apple Metal")
    return ChosenDevice("cpu", f"auto: {_why_absent('cuda')}")


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _why_absent(kind: str) -> str:
    if kind == "mps":
        return "this torch build or machine has no Apple Metal"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch (built for CUDA {torch.version.cuda}) finds no usable CUDA device"
