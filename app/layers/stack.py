"""The stack of a model's layers: built from its config, folded for serving, set from a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from app.config import ModelConfig
from app.errors import ArtifactInvalid, ConfigInvalid
from app.layers.arguments import check_arguments
from app.layers.orthonormal import orthonormality_error
from app.layers.parametrizations import PARAMETRIZATIONS, assign_
from app.layers.qr_reduction import QRReduction
from app.registry import Registry

# What `max |Q Qᵀ - I|` of given weights may be where orthonormal rows are promised. Our own are
# below 1e-6; weights that another tool made orthonormal in float32 are below this.
ORTHONORMALITY_TOLERANCE = 1e-5

LAYERS: Registry[type[QRReduction]] = Registry("layer")
LAYERS.register("QRReduction")(QRReduction)


def build(
    config: ModelConfig,
    *,
    generator: torch.Generator | None = None,
    sample: Tensor | None = None,
) -> nn.Module:
    """The trainable module that a config declares, on the CPU in float32.

    Args:
        config: its `layers` name classes and their arguments.
        generator: of the initial weights; by default one seeded with the config's seed.
        sample: hidden states `(rows, input_size)`, for an init that starts from data.

    Raises:
        ConfigInvalid: with the JSON pointer of the fault, from the root of the config.
    """
    if len(config.layers) > 1:
        raise ConfigInvalid(
            f"expected exactly one layer, got {len(config.layers)}; remove the others",
            pointer="/layers/1",
        )
    component, pointer = config.layers[0], "/layers/0"
    layer = LAYERS.choose(component.type, pointer=f"{pointer}/type")
    check_arguments(layer, component.arguments, pointer=pointer)
    generator = generator or torch.Generator().manual_seed(config.seed)
    try:
        return layer(
            input_size=config.input_size,
            sample=sample,
            generator=generator,
            **component.arguments,
        )
    except ConfigInvalid as error:
        raise ConfigInvalid(error.detail, pointer=f"{pointer}{error.pointer}") from None


@torch.no_grad()
def folded(module: nn.Module) -> dict[str, Tensor]:
    """The tensors that serving multiplies with, under plain names, parametrizations evaluated.

    Contiguous copies, each with its own storage: the caller may keep them while the module trains,
    and a file of one holds nothing else.
    """
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in _plain_tensors(module).items()
    }


def assign(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Set a module's weights from plain tensors, in place; all of them or none.

    Raises:
        ArtifactInvalid: `artifact_incompatible`: other names, other shapes, or rows that are not
            orthonormal to 1e-5 where the parametrization promises it.
    """
    expected = {name: tensor.shape for name, tensor in _plain_tensors(module).items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != expected:
        raise ArtifactInvalid(
            f"expected tensors {_listed(expected)}, found {_listed(found)}",
            code="artifact_incompatible",
        )
    for path, layer in module.named_modules():
        if isinstance(layer, QRReduction):
            _check_promise(layer, tensors[f"{path}.Q_reduced" if path else "Q_reduced"])
    for name, tensor in tensors.items():
        owner, _, leaf = name.rpartition(".")
        assign_(module.get_submodule(owner), leaf, tensor)


def plain(config: ModelConfig, tensors: Mapping[str, Tensor]) -> nn.Module:
    """An inference-only module that holds exactly these tensors, as `folded` gave them.

    No copy, no random numbers, no parametrization, no gradients; the tensors are not checked.
    """
    return LAYERS[config.layers[0].type].holding(tensors)


def product(config: ModelConfig, tensors: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """What `plain` of the same computes, without a module in between: for every request."""
    return LAYERS[config.layers[0].type].holding(tensors).bound()


def retract_(module: nn.Module) -> None:
    """Bring every layer back to its parametrization; called after each accepted step.

    Does not look whether the weights are finite, and never makes them so.
    """
    for layer in module.modules():
        if isinstance(layer, QRReduction):
            layer.retract_()


def _plain_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers, each parametrized one evaluated under its plain name."""
    names = dict.fromkeys(
        re.sub(r"\bparametrizations\.([^.]+)\..*", r"\1", key) for key in module.state_dict()
    )
    plain_tensors = {}
    for name in names:
        owner, _, leaf = name.rpartition(".")
        plain_tensors[name] = getattr(module.get_submodule(owner), leaf)
    return plain_tensors


def _check_promise(layer: QRReduction, weight: Tensor) -> None:
    if not PARAMETRIZATIONS[layer.parametrization].is_orthonormal:
        return
    error = orthonormality_error(weight)
    # Written so that a NaN is refused.
    if not error <= ORTHONORMALITY_TOLERANCE:
        raise ArtifactInvalid(
            f"expected orthonormal rows of Q_reduced (parametrization {layer.parametrization!r}), "
            f"to {ORTHONORMALITY_TOLERANCE:g}, found an error of {error:.2g}",
            code="artifact_incompatible",
        )


def _listed(shapes: Mapping[str, torch.Size]) -> str:
    first = [f"{name[:64]} {list(shape)}" for name, shape in sorted(shapes.items())[:8]]
    return ", ".join(first) + (" and more" if len(shapes) > 8 else "") or "none"
