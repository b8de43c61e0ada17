"""/docs: the OpenAPI document in Swagger UI, every byte of it from this process.

The framework's own page loads scripts from somebody else's server; this one serves the copy that
the package fastapi-offline ships, from a fixed table of three files.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, RedirectResponse

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><title>Slimvec API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
});
"""


def docs_routes() -> APIRouter:
    """The page and its files."""
    router = APIRouter(include_in_schema=False)
    static = files("fastapi_offline") / "static"
    assets = {
        "start.js": (_START.encode(), "text/javascript"),
        "swagger-ui.js": ((static / "swagger-ui-bundle.js").read_bytes(), "text/javascript"),
        "swagger-ui.css": ((static / "swagger-ui.css").read_bytes(), "text/css"),
    }

    @router.get("/")
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    @router.get("/docs")
    async def page() -> HTMLResponse:
        return HTMLResponse(_PAGE)

    for name, (content, media_type) in assets.items():
        router.add_api_route(f"/docs/{name}", _serve(content, media_type))
    return router


def _serve(content: bytes, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def asset() -> Response:
        return Response(content, media_type=media_type)

    return asset
