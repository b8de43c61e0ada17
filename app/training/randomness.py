"""Randomness: what layers draw while they train is the same in every replay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import sha256

import torch
from torch import nn

from app.layers import draws

# No other model trains at the same time.
ALONE: AbstractContextManager[object] = nullcontext()


class Randomness:
    """Seeds what a layer draws in training, from the model's seed and version.

    Dropout and its kin draw from torch's global generator, which all models of a process share:
    one at a time has it, and puts it back. A layer that draws nothing is not held up.

    Example:
        >>> randomness = Randomness(nn.Dropout(0.5), 3, torch.device("cpu"), ALONE)
        >>> with randomness.at(version=7):
        ...     first = torch.rand(2)
        >>> with randomness.at(version=7):
        ...     bool(torch.equal(first, torch.rand(2)))
        True

    Args:
        layer: whose training it is.
        seed: of the config.
        device: where the layer lives.
        turn: held while it draws; one for all models that train at once.
    """

    def __init__(
        self,
        layer: nn.Module,
        seed: int,
        device: torch.device,
        turn: AbstractContextManager[object],
    ) -> None:
        self._draws = draws(layer)
        self._seed = seed
        self._device = device
        self._turn = turn

    def at(self, version: int) -> AbstractContextManager[None]:
        """While it lasts, the layer draws what it always draws at this version.

        Entered again, the same is drawn again: a closure's evaluations are of one function.
        """
        return self._drawing(version) if self._draws else nullcontext()

    @contextmanager
    def _drawing(self, version: int) -> Iterator[None]:
        seed = derived_seed(self._seed, version)
        devices = [self._device] if self._device.type == "cuda" else []
        with self._turn, torch.random.fork_rng(devices=devices):
            # Not `torch.manual_seed`, which seeds every device, also those that were not forked.
            torch.default_generator.manual_seed(seed)
            for device in devices:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            yield


def derived_seed(seed: int, version: int) -> int:
    """A seed for one version of one model, unlike those of its neighbours.

    >>> derived_seed(0, 1) != derived_seed(1, 0)
    True
    """
    return int.from_bytes(sha256(f"{seed}:{version}".encode()).digest()[:8], "little")
