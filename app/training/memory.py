"""Memories: what a learner keeps beside weights, optimizer and counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from torch import Tensor

from app.codecs import digest
from app.training.stored import StoredArrays
from app.training.tensors import to_arrays
from app.types import Json


class Memory(Protocol):
    """One thing that a learner remembers, behind a reference.

    Its state is immutable, so that a savepoint is a reference and an undo an assignment. All of it
    is in the trainer's state: in checkpoints, in the state digest, and so in every replay.

    Attributes:
        part: its name: the first word of its arrays, and its key in the scalars.
        state: what is remembered now.
    """

    part: ClassVar[str]
    state: Any

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors of the state by name; there may be none."""
        ...

    def digest(self) -> str:
        """The digest of `tensors()` as `app.codecs.digest` defines it; empty without tensors."""
        ...

    def scalars(self) -> Json | None:
        """The rest of the state as JSON; None when there is nothing to remember."""
        ...

    def read(self, stored: StoredArrays, scalars: Json | None) -> Any:
        """The state that a record describes; `state` is not set.

        Args:
            stored: holds its arrays as `<part>.<name>`, among others.
            scalars: as `scalars()` gave them.

        Raises:
            ArtifactInvalid: `artifact_incompatible`.
        """
        ...

    def forget(self) -> None:
        """Forget what was about the weights: others, from elsewhere, have taken their place."""
        ...


class KnownDigest:
    """The digest of tensors that nobody writes to: known as long as they are the same."""

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}
        self._digest = ""

    def of(self, tensors: Mapping[str, Tensor]) -> str:
        """The digest of these tensors; empty without any."""
        if tensors.keys() != self._tensors.keys() or any(
            tensor is not self._tensors[name] for name, tensor in tensors.items()
        ):
            self._tensors = dict(tensors)
            self._digest = digest(to_arrays(tensors)) if tensors else ""
        return self._digest
