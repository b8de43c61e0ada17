"""Every visit of the soak once, so that the soak itself does not rot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from threading import Thread
from urllib.parse import urlsplit

import pytest

from tests.conftest import MODELS
from tests.server import create, serving
from tests.soak.turnstile import Turnstile
from tests.soak.visitor import Visitor
from tests.soak.visits import VISITS, Visit


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    with serving(tmp_path_factory.mktemp("soak") / "models") as server:
        for name, document in MODELS.items():
            create(server, name, document)
        parts = urlsplit(server.url)
        assert parts.hostname is not None
        assert parts.port is not None
        one = Visitor((parts.hostname, parts.port))
        with closing(one.wire):
            yield one


@pytest.mark.parametrize("visit", VISITS, ids=lambda visit: visit.name)
def test_a_visit_is_answered_as_it_expects(visitor: Visitor, visit: Visit) -> None:
    for _ in range(3):
        visit.make(visitor)


def test_nobody_comes_in_while_the_turnstile_is_held() -> None:
    turnstile, inside = Turnstile(), []

    def come() -> None:
        with turnstile.visit() as is_on:
            inside.append(is_on)

    visitor = Thread(target=come)
    with turnstile.held():
        visitor.start()
        visitor.join(0.05)
        assert not inside
    visitor.join()
    turnstile.close()
    come()
    assert inside == [True, False]
