"""One thread of torch's while a test runs: bits depend on their number."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


one_thread = pytest.fixture(autouse=True)(_one_thread)
# Also for fixtures of the module.
one_thread_a_module = pytest.fixture(scope="module", autouse=True)(_one_thread)
