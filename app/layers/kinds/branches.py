"""Layers beside each other: all of them, or the one that a request names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from app.errors import ConfigInvalid, pointer_token
from app.layers.arguments import check_choice, check_only
from app.layers.kind import KINDS, NO_CONTEXT, Context, Declared, Shape
from app.layers.sequence import begin_each, common_branches, declare_sequence
from app.layers.widths import listed
from app.wording import offered

T = TypeVar("T", dict[str, Any], list[Any])

_MOST_BRANCHES = 64
_NAMED = f"an object of 1 to {_MOST_BRANCHES} branches, each an array of layers"
_LISTED = f"an array of 1 to {_MOST_BRANCHES} branches, each an array of layers"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class NamedBranches(nn.ModuleDict):
    """Of several ways the one that a request names, or the first.

    Args:
        branches: by name; each takes `(rows, context)`.

    Shape: rows (rows, …); returns what each branch returns, of one shape.
    """

    def __init__(self, branches: Mapping[str, nn.Module]) -> None:
        super().__init__(branches)
        self._first = next(iter(branches))

    def forward(self, rows: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """The output of the branch that is asked for.

        Raises:
            Unacceptable: `unknown_branch`.
        """
        reduced: Tensor = self[context.branch or self._first](rows, context)
        return reduced


class ParallelBranches(nn.ModuleList):
    """Several ways at once.

    Args:
        branches: each takes `(rows, context)`.
        combine: `concatenate` along the last dimension, or `sum`.

    Shape: rows (rows, …); returns (rows, …) with all widths together, or the common one.
    """

    def __init__(self, branches: Sequence[nn.Module], combine: str) -> None:
        super().__init__(branches)
        self._combine = combine

    def forward(self, rows: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """All outputs, side by side or added up in their order."""
        outputs: list[Tensor] = [branch(rows, context) for branch in self]
        if self._combine == "concatenate":
            return torch.cat(outputs, dim=-1)
        total, *others = outputs
        for output in others:
            total = total + output
        return total


@KINDS.register("ModuleDict")
class ModuleDictKind:
    """`branches`, an object of arrays of layers: the one that a request names, or the first."""

    @staticmethod
    def declare(arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`; every branch gives the same shape."""
        check_only({"branches": _NAMED}, arguments, layer="ModuleDict", pointer=pointer)
        place = f"{pointer}/branches"
        named = _given(arguments, dict, _NAMED, pointer=place)
        for name in named:
            _check_name(name, place)
        parts = [
            declare_sequence(layers, shape, pointer=f"{place}/{name}")
            for name, layers in named.items()
        ]
        _check_same([part.output for part in parts], place)
        if common_branches(parts, pointer=place):
            raise ConfigInvalid(
                "expected no ModuleDict within a branch of another, got one; a request names one "
                "branch",
                pointer=place,
            )
        return _together(
            parts,
            make=partial(_make_named, dict(zip(named, parts, strict=True))),
            output=parts[0].output,
            branches=tuple(named),
        )


@KINDS.register("ModuleList")
class ModuleListKind:
    """`branches`, an array of arrays of layers, all used; `combine`: "concatenate" or "sum"."""

    @staticmethod
    def declare(arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        check_only(
            {"branches": _LISTED},
            arguments,
            layer="ModuleList",
            pointer=pointer,
            optional=("combine",),
        )
        combine = check_choice(
            arguments.get("combine", "concatenate"),
            ("concatenate", "sum"),
            pointer=f"{pointer}/combine",
        )
        place = f"{pointer}/branches"
        sequences = _given(arguments, list, _LISTED, pointer=place)
        parts = [
            declare_sequence(layers, shape, pointer=f"{place}/{index}")
            for index, layers in enumerate(sequences)
        ]
        return _together(
            parts,
            make=partial(_make_parallel, parts, combine),
            output=_combined([part.output for part in parts], combine, place),
            branches=common_branches(parts, pointer=place),
        )


def _given(arguments: Mapping[str, Any], kind: type[T], wanted: str, *, pointer: str) -> T:
    """The branches that a config gives, as JSON of one kind."""
    branches = arguments["branches"]
    if not isinstance(branches, kind) or not 1 <= len(branches) <= _MOST_BRANCHES:
        raise ConfigInvalid(f"expected {wanted}, got {offered(branches)}", pointer=pointer)
    return branches


def _together(parts: Sequence[Declared], **fields: Any) -> Declared:
    """Several ways as one layer; its bias and its mean are those of no single way."""
    return Declared(
        begin=partial(_begin, parts),
        takes_context=True,
        widest=sum(part.widest for part in parts),
        multiply_adds=sum(part.multiply_adds for part in parts),
        uses_mask=any(part.uses_mask for part in parts),
        takes_ids=any(part.takes_ids for part in parts),
        warnings=tuple(warning for part in parts for warning in part.warnings),
        **fields,
    )


def _make_named(parts: Mapping[str, Declared]) -> nn.Module:
    return NamedBranches({name: part.make() for name, part in parts.items()})


def _make_parallel(parts: Sequence[Declared], combine: str) -> nn.Module:
    return ParallelBranches([part.make() for part in parts], combine)


def _begin(parts: Sequence[Declared], module: nn.Module) -> None:
    begin_each(parts, module.children())


def _check_name(name: str, pointer: str) -> None:
    """Torch keeps a branch as an attribute of its name, so its own attributes' names are taken."""
    if not _NAME.fullmatch(name) or hasattr(nn.ModuleDict, name) or name == "training":
        raise ConfigInvalid(
            "expected a branch's name to be 1 to 64 of a-z, 0-9, - and _, begin with a letter or "
            f"digit, and be no attribute of torch's ModuleDict, got {offered(name)}; choose "
            "another",
            pointer=f"{pointer}/{pointer_token(name)}",
        )


def _check_same(outputs: Sequence[Shape], pointer: str) -> None:
    for output in outputs:
        if output != outputs[0]:
            raise ConfigInvalid(
                f"expected every branch to give the same shape, {listed(outputs[0])}, got "
                f"{listed(output)}",
                pointer=pointer,
            )


def _combined(outputs: Sequence[Shape], combine: str, pointer: str) -> Shape:
    if combine == "sum":
        _check_same(outputs, pointer)
        return outputs[0]
    widths = [output[-1] for output in outputs]
    _check_same([output[:-1] for output in outputs], pointer)
    if None in widths:
        raise ConfigInvalid(
            "expected branches whose last dimension has a known length, to be concatenated along "
            f"it, got {', '.join(map(listed, outputs))}; fix it in input_shape",
            pointer=pointer,
        )
    return (*outputs[0][:-1], sum(width or 0 for width in widths))
