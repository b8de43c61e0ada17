"""What an optimizer keeps for a parameter: tensors and numbers, also in lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from torch import Tensor

# A tensor, a number, None, or a list of these.
Tree: TypeAlias = Any

# In the JSON half of a record: here stands a tensor, which is among the arrays.
TENSOR = "tensor"


def leaves(tree: Tree, name: str) -> Iterator[tuple[str, Any]]:
    """Everything in a tree that is no list, by name: `name`, or `name.0`, `name.1`, ….

    >>> list(leaves([1.5, [None]], "d"))
    [('d.0', 1.5), ('d.1.0', None)]
    """
    if not isinstance(tree, list):
        yield name, tree
        return
    for index, item in enumerate(tree):
        yield from leaves(item, f"{name}.{index}")


def copied(tree: Tree, over: Tree) -> Tree:
    """A copy, in the memory of `over` wherever that holds a tensor of the same form."""
    if isinstance(tree, Tensor):
        if isinstance(over, Tensor) and (over.shape, over.dtype) == (tree.shape, tree.dtype):
            return over.copy_(tree)
        return tree.detach().clone()
    if not isinstance(tree, list):
        return tree
    places = over if isinstance(over, list) else []
    missing = [None] * max(0, len(tree) - len(places))
    return [copied(item, place) for item, place in zip(tree, [*places, *missing], strict=False)]


def plain(tree: Tree) -> Tree:
    """The same as JSON, with a word wherever a tensor stands."""
    if isinstance(tree, list):
        return [plain(item) for item in tree]
    return TENSOR if isinstance(tree, Tensor) else tree
