"""The table of scopes and the routes that there are name each other, none left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Route

from app.access import KeyScope
from app.api.app import create_framework
from app.api.edge import Edge
from app.api.gate import Gate
from app.api.hot import VERBS
from app.api.scopes import ADMIN, OF_DEFAULT_MODEL, OPEN, READ, SCOPES, TRAIN, WEBSOCKET, ScopeTable
from app.main import build
from app.settings import Settings
from app.telemetry import Metrics
from tests.server import RunningServer

# What `api/hot.py` answers beside the routes of the framework.
_HOT = {
    *((WEBSOCKET, path) for path in ("/train-stream", "/models/{model}/train-stream")),
    *(("POST", f"{place}/{verb}") for verb in VERBS for place in ("", "/models/{model}")),
}
_TABLE = ScopeTable("the-default")


@pytest.fixture
def framework(tmp_path: Path) -> Iterator[FastAPI]:
    assembly = build(Settings(models_dir=tmp_path, device="cpu"))
    with assembly.resources:
        settings = assembly.settings
        yield create_framework(Edge(assembly.service, settings, Metrics(), Gate(settings)))


def _undeclared(routes: Iterable[BaseRoute]) -> set[tuple[str, str]]:
    return {*_routed(routes), *_HOT} - SCOPES.keys()


def _routed(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    for route in iter_route_contexts([*routes]):
        kind = type(route.original_route)
        assert issubclass(kind, Route), f"what a {kind.__name__} answers is not looked at"
        for method in (route.methods or set()) - {"HEAD"}:
            yield method, str(route.path).replace(":path}", "}")  # as the document has it


def test_every_route_has_a_declared_scope_and_every_declared_one_is_there(
    framework: FastAPI,
) -> None:
    assert _undeclared(framework.routes) == set()
    assert SCOPES.keys() - {*_routed(framework.routes), *_HOT} == set()


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/models/{model}/new"), ("PUT", "/reduce"), ("POST", "/reduce/")]
)
def test_a_seeded_route_without_a_scope_is_caught(
    framework: FastAPI, method: str, path: str
) -> None:
    framework.add_api_route(path, lambda: None, methods=[method])
    assert _undeclared(framework.routes) == {(method, path)}


def test_a_route_that_is_no_plain_one_is_caught(framework: FastAPI) -> None:
    framework.mount("/static", FastAPI())
    with pytest.raises(AssertionError, match="a Mount answers"):
        _undeclared(framework.routes)


def test_only_probes_and_the_page_are_open() -> None:
    opened = {path for (_, path), needs in SCOPES.items() if needs == OPEN}
    told = ("/health/", "/v2/health/", "/docs")
    assert {path for path in opened if not path.startswith(told)} == {"/", "/openapi.json"}


def test_whatever_changes_a_model_needs_more_than_read() -> None:
    changing = {"PUT", "PATCH", "DELETE"}
    weak = {route for route, needs in SCOPES.items() if needs == READ and route[0] in changing}
    assert weak == set()
    assert {SCOPES["POST", path] for path in OF_DEFAULT_MODEL} == {READ, TRAIN, ADMIN}


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("POST", "/reduce", (READ, "the-default")),
        ("POST", "/train-step", (TRAIN, "the-default")),
        ("POST", "/models/news/train-step", (TRAIN, "news")),
        ("POST", "/models//train-step", (TRAIN, "")),
        (WEBSOCKET, "/models/news/train-stream", (TRAIN, "news")),
        ("DELETE", "/models/news", (ADMIN, "news")),
        ("GET", "/models/news/versions/3", (READ, "news")),
        ("GET", "/models/news/versions/3/alignment", (READ, "news")),
        ("GET", "/models", (READ, None)),
        ("GET", "/health/live", (OPEN, None)),
        # Row 96: what is not exactly a path of the table is nowhere, and never another's business.
        *(
            ("POST", path, (READ, None))
            for path in (
                *("//reduce", "/REDUCE", "/reduce/", "/reduce;x=1", "/Train-step", "/train-step/"),
                *("/v1/../train-step", "/./train-step", "/models/news/train-step/", "", "*"),
                *("/models/a/b/train-step", "/models/news//train-step", "/health/live"),
                *(
                    "/MODELS/news/train-step",
                    "/models/news/TRAIN-STEP",
                    "/models/news/train-step;x",
                ),
            )
        ),
        ("get", "/health/live", (READ, None)),
        ("HEAD", "/models/news", (READ, None)),
        ("GET", "/health/live/", (READ, None)),
        ("GET", "/docs/../models", (READ, None)),
    ],
)
def test_a_request_finds_its_needs_by_exact_parts(method: str, path: str, found: Any) -> None:
    assert _TABLE.find(method, path) == found


def test_a_literal_part_wins_over_a_hole() -> None:
    table = ScopeTable("m", {("GET", "/a/{model}/c"): ADMIN, ("GET", "/a/b/{thing}"): TRAIN})
    assert table.find("GET", "/a/x/c") == (ADMIN, "x")
    assert table.find("GET", "/a/b/x") == (TRAIN, None)


def test_the_document_names_the_scope_of_every_operation(server: RunningServer) -> None:
    document = server.http.get("/openapi.json").json()
    scheme = document["components"]["securitySchemes"]["apiKey"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            scope = SCOPES[method.upper(), path].scope
            assert operation["security"] == ([{"apiKey": [scope.word]}] if scope else []), path
            wanted = {"403", "421"} | ({"401", "429"} if scope else set())
            assert wanted <= operation["responses"].keys(), path
    assert {scope.word for scope in KeyScope} == {"read", "train", "admin"}
