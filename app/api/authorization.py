"""What the OpenAPI document says of API keys: the scheme, each operation's scope, its refusals."""

from __future__ import annotations

from typing import Any

from app.api.errors import documented
from app.api.scopes import READ, SCOPES
from app.types import Json

_SCHEME = "apiKey"
_OF_EVERYTHING = (400, 403, 421)
_OF_CALLERS = (401, 429)


def document_scopes(document: dict[str, Any]) -> None:
    """Add the scheme, and to each operation the scope that it needs and what the gate answers."""
    document["components"]["securitySchemes"] = {
        _SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "sv_<id>_<secret>",
            "description": "An API key, where the server has a file of them (see docs/security.md)."
            " Its scope is read, train or admin; each includes the ones before it.",
        }
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            needs = SCOPES.get((method.upper(), path), READ)
            operation["security"] = [{_SCHEME: [needs.scope.word]}] if needs.scope else []
            _add_refusals(operation["responses"], path, needs.scope is None)


def _add_refusals(responses: Json, path: str, is_open: bool) -> None:
    statuses = (*_OF_EVERYTHING, *(() if is_open else _OF_CALLERS))
    for status, response in documented(*statuses, path=path).items():
        responses.setdefault(str(status), response)
