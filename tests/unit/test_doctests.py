"""The examples in docstrings are executed, so that they stay true."""

from __future__ import annotations

import doctest
from importlib import import_module
from pkgutil import walk_packages

import pytest

import app

MODULES = [module.name for module in walk_packages(app.__path__, "app.")]


@pytest.mark.parametrize("name", [name for name in MODULES if name != "app.__main__"])
def test_the_examples_of_a_module_are_true(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0


def test_there_are_examples_to_run() -> None:
    examples = [
        example
        for name in ("app.layers.qr_reduction", "app.codecs.digest")
        for test in doctest.DocTestFinder().find(import_module(name))
        for example in test.examples
    ]
    assert examples
