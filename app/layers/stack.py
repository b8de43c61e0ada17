"""The stack of a model's layers: built from its config, folded for serving, set from a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor, nn

from app.config import ModelConfig
from app.errors import ArtifactInvalid, ConfigInvalid
from app.layers.drawing import Drawing
from app.layers.kind import Context
from app.layers.kinds.branches import NamedBranches
from app.layers.parametrizations import assign_, check_given
from app.layers.sequence import LayerSequence
from app.layers.shapes import declare_all, declared_once


def build(
    config: ModelConfig,
    *,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """The trainable module that a config declares, on the CPU in float32.

    Args:
        config: its `layers` name classes and their arguments.
        generator: of the initial weights; by default one seeded with the config's seed.

    Raises:
        ConfigInvalid: with the JSON pointer of the fault, from the root of the config.
    """
    declared = declare_all(config)
    with Drawing(generator or torch.Generator().manual_seed(config.seed)):
        module = declared.make()
        if declared.begin is not None:
            declared.begin(module)
    _check_trainable(module, declared.branches)
    return module


def forward(module: nn.Module, rows: Tensor, context: Context) -> Tensor:
    """What a module of `build` makes of rows, with what the request says beside them.

    Shape: rows (rows, *input_shape); returns (rows, *output_shape).
    """
    reduced: Tensor = module(rows, context) if isinstance(module, LayerSequence) else module(rows)
    return reduced


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
        ArtifactInvalid: `artifact_incompatible`: other names, other shapes, or values that break
            what a parametrization promises.
    """
    _check_same(_plain_tensors(module), tensors)
    _check_variances(tensors)
    check_given(module, tensors)
    for name, tensor in tensors.items():
        owner, _, leaf = name.rpartition(".")
        assign_(module.get_submodule(owner), leaf, tensor)


def plain(config: ModelConfig, tensors: Mapping[str, Tensor]) -> nn.Module:
    """An inference-only module that holds exactly these tensors, as `folded` gave them.

    No copy, no random numbers, no parametrization, no gradients; the tensors are not checked
    beyond their names and shapes.
    """
    declared = declared_once(config)
    with torch.device("meta"):
        module = declared.make()
    module.load_state_dict(tensors, assign=True)
    return module.requires_grad_(False).eval()


def product(config: ModelConfig, tensors: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """What `plain` of the same computes; of one linear layer without a module in between.

    A module looks its tensors up at every call; of one row, looking costs a fifth.
    """
    direct = declared_once(config).direct
    return plain(config, tensors) if direct is None else direct(tensors)


def _check_trainable(module: nn.Module, branches: tuple[str, ...]) -> None:
    """Refuse layers of which a request could train none, whatever branch it names.

    Raises:
        ConfigInvalid: no weights, or a branch without weights where others have all of them.
    """
    choices = [layer for layer in module.modules() if isinstance(layer, NamedBranches)]
    for branch in branches or ("",):
        left_out = {
            parameter
            for choice in choices
            for name, other in choice.items()
            if name != branch
            for parameter in other.parameters()
        }
        if left_out.issuperset(module.parameters()):
            raise ConfigInvalid(
                "expected at least one layer with weights, such as Linear or QRReduction, got none"
                + (f" in branch {branch!r} or beside it" if branch else ""),
                pointer="/layers",
            )


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


def _check_same(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Refuse other names, other shapes, or whole numbers in the place of floats."""
    wanted, given = ({_described(*item) for item in each.items()} for each in (expected, found))
    if wanted != given:
        raise ArtifactInvalid(
            f"expected tensors {_listed(wanted, given)}, found {_listed(given, wanted)}",
            code="artifact_incompatible",
        )


def _check_variances(tensors: Mapping[str, Tensor]) -> None:
    """Refuse running statistics that would make NaN of every row."""
    for name, tensor in tensors.items():
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise ArtifactInvalid(
                f"expected variances of at least 0 in {name}, found a negative one",
                code="artifact_incompatible",
            )


def _described(name: str, tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else " of whole numbers"
    return f"{name} {list(tensor.shape)}{kind}"


def _listed(described: Collection[str], others: Collection[str]) -> str:
    """A few of them, above all those that the others have not."""
    chosen = sorted(described, key=lambda text: (text in others, text))[:8]
    first = ", ".join(text[:96] for text in sorted(chosen))
    return first + (" and more" if len(described) > 8 else "") or "none"
