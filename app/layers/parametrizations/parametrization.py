"""What a parametrization is: a constraint that a weight keeps during training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from app.config import Arguments
from app.errors import ArtifactInvalid, ConfigInvalid
from app.layers.declared import declared
from app.registry import Registry

# Where a layer keeps its constraints: by parameter; not a tensor, so not in any state_dict.
_KEPT = "_constraints"


class Parametrization(Arguments):
    """A constraint on one weight of a layer; a member overrides what it does differently.

    Attributes:
        is_orthonormal: whether it promises orthonormal rows (columns, of a tall weight).
    """

    is_orthonormal: ClassVar[bool] = False

    def check(self, shape: tuple[int, ...], *, pointer: str) -> None:
        """Refuse shapes that the constraint cannot hold for, before anything is built.

        Raises:
            ConfigInvalid: the shape is one.
        """

    def attach(self, layer: nn.Module, name: str) -> None:
        """Constrain the parameter `name`, whose initial value may not meet the constraint."""
        self.retract_(layer, name)

    def retract_(self, layer: nn.Module, name: str) -> None:
        """Bring the weight back to the constraint after an accepted step, in place."""

    def assign_(self, layer: nn.Module, name: str, value: Tensor) -> None:
        """Set the plain value of the weight, in place; it was checked.

        Torch's own assignment replaces the raw storage, and may change its strides.
        """
        if not is_parametrized(layer, name):
            layer.get_parameter(name).copy_(value)
            return
        chain = chain_of(layer, name)
        for step in reversed(chain):
            value = cast(_Invertible, step).right_inverse(value)
        chain.original.copy_(value)

    def check_given(self, layer: nn.Module, name: str, value: Tensor) -> None:
        """Refuse a given weight that breaks the promise.

        Raises:
            ArtifactInvalid: `artifact_incompatible`.
        """


class _Invertible(Protocol):
    def right_inverse(self, value: Tensor) -> Tensor: ...


PARAMETRIZATIONS: Registry[type[Parametrization]] = Registry("parametrization")


def read_parametrization(value: object, *, pointer: str) -> Parametrization:
    """The parametrization that a config declares; see `declared`."""
    return declared(PARAMETRIZATIONS, value, pointer=pointer)


@torch.no_grad()
def attach(layer: nn.Module, name: str, constraint: Parametrization) -> None:
    """Constrain a parameter of a layer from now on.

    Args:
        layer: has the parameter, with its initial value.
        name: of the parameter, without a dot.
        constraint: its shape was checked.
    """
    constraint.attach(layer, name)
    setattr(layer, _KEPT, {**constraints_of(layer), name: constraint})


def constraints_of(layer: nn.Module) -> Mapping[str, Parametrization]:
    """The constraints of a layer's own parameters, by name."""
    kept: Mapping[str, Parametrization] = layer.__dict__.get(_KEPT, {})
    return kept


def retract_(module: nn.Module) -> None:
    """Bring every weight back to its parametrization; called after each accepted step.

    Does not look whether the weights are finite, and never makes them so.
    """
    if constrained := list(_constrained(module)):  # every step asks, and most layers have none
        with torch.no_grad():
            for _, layer, name, constraint in constrained:
                constraint.retract_(layer, name)


def check_given(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Refuse given plain weights that break what a parametrization promises.

    Args:
        module: whose parametrizations are meant.
        tensors: by plain name; all of the module's.

    Raises:
        ArtifactInvalid: `artifact_incompatible`.
    """
    for path, layer, name, constraint in _constrained(module):
        constraint.check_given(layer, name, tensors[f"{path}.{name}" if path else name])


@torch.no_grad()
def assign_(layer: nn.Module, name: str, value: Tensor) -> None:
    """Set the plain value of a tensor of a layer, parametrized or not, in place."""
    constraint = constraints_of(layer).get(name)
    if constraint is not None:
        constraint.assign_(layer, name, value)
        return
    tensors = {**layer._parameters, **layer._buffers}
    target = tensors[name]
    assert target is not None, "only tensors that are there are set"
    target.copy_(value)


def broken(promise: str, found: str) -> ArtifactInvalid:
    """The refusal of a given weight that breaks a promise."""
    return ArtifactInvalid(
        f"expected {promise}, found {found}; give weights that keep it, or a model without the "
        "parametrization",
        code="artifact_incompatible",
    )


def chain_of(layer: nn.Module, name: str) -> ParametrizationList:
    """Torch's parametrizations of one parameter, with the raw tensor that is trained."""
    return cast(ParametrizationList, layer.get_submodule(f"parametrizations.{name}"))


def _constrained(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, Parametrization]]:
    for path, layer in module.named_modules():
        for name, constraint in constraints_of(layer).items():
            yield path, layer, name, constraint


def need_matrix(shape: tuple[int, ...], kind: str, *, pointer: str) -> None:
    """Refuse a weight without rows and columns.

    Raises:
        ConfigInvalid: fewer than two dimensions.
    """
    if len(shape) < 2:
        raise ConfigInvalid(
            f"parametrization {kind!r} expects a weight of at least 2 dimensions, got {len(shape)}",
            pointer=pointer,
        )
