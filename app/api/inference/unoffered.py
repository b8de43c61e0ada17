"""Parts of the protocol that are not offered, and what clients ask of them all the same.

Clients tidy up before they begin: they ask which shared memory is known, and have it forgotten.
None is, so both are true answers.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from app.api.inference.models import MODEL, ROOT
from app.errors import Unimplemented

_SETTINGS = (f"{ROOT}/logging", f"{ROOT}/trace/setting", f"{MODEL}/trace/setting")
_MEMORIES = (f"{ROOT}/systemsharedmemory", f"{ROOT}/cudasharedmemory")


def unoffered_routes() -> APIRouter:
    """Logging, tracing and shared memory; none of it is in the document of the API."""
    router = APIRouter(include_in_schema=False)
    for path in _SETTINGS:
        router.add_api_route(path, _refuse, methods=["GET", "POST"])
    for memory in _MEMORIES:
        for which in ("", "/region/{region}"):
            router.add_api_route(f"{memory}{which}/status", _none, methods=["GET"])
            router.add_api_route(f"{memory}{which}/unregister", _forgotten, methods=["POST"])
        router.add_api_route(f"{memory}/region/{{region}}/register", _refuse, methods=["POST"])
    return router


async def _refuse() -> None:
    raise Unimplemented(
        "extension_not_offered",
        "expected a request of the protocol or of an extension that is offered here; "
        "GET /v2 lists those",
    )


async def _none() -> list[Any]:
    return []


async def _forgotten() -> Response:
    return Response()
