"""The arrays of a state while it is loaded."""

from __future__ import annotations

import torch
from torch import Tensor

from app.errors import ArtifactInvalid
from app.training.guards.finite import is_finite
from app.types import NamedArrays


class StoredArrays:
    """Named arrays, each taken once as a tensor; none may be left at the end.

    Args:
        arrays: as a file or another trainer gave them; never written to.
    """

    def __init__(self, arrays: NamedArrays) -> None:
        self._left = dict(arrays)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of an array that is left; none of that name is empty."""
        return self._left[name].shape if name in self._left else ()

    def take(
        self, name: str, dtype: torch.dtype, shape: tuple[int, ...], device: torch.device
    ) -> Tensor:
        """The array of that name, as a tensor of its own memory.

        Raises:
            ArtifactInvalid: none is left, or one of another dtype or shape, or not finite.
        """
        if name not in self._left:
            raise incompatible(f"no array {name}")
        array = self._left.pop(name)
        wanted = str(dtype).removeprefix("torch.")
        if (array.dtype.name, array.shape) != (wanted, shape):
            raise incompatible(
                f"{name} of {array.dtype.name} {list(array.shape)}, "
                f"where {wanted} {list(shape)} belongs"
            )
        tensor = torch.tensor(array, device=device)
        if not is_finite([tensor]):
            raise incompatible(f"a value in {name} that is not finite")
        return tensor

    def take_like(self, name: str, tensor: Tensor) -> Tensor:
        """The array of that name, in the form and on the device of a tensor; see `take`."""
        return self.take(name, tensor.dtype, tuple(tensor.shape), tensor.device)

    def check_all_taken(self) -> None:
        """Refuse arrays that nothing asked for.

        Raises:
            ArtifactInvalid: there are some.
        """
        if self._left:
            raise incompatible(
                f"{len(self._left)} arrays that this layer, its optimizer and guards do not have"
            )


def incompatible(found: str) -> ArtifactInvalid:
    """The error of a state that is not this model's."""
    return ArtifactInvalid(
        f"expected the trainer state of this model's layer and optimizer, found {found}; "
        "nothing was loaded",
        code="artifact_incompatible",
    )
