"""The short way to the two hot verbs: a path match in front of the framework.

FastAPI's routing costs two to three times the throughput of a small body. The same functions are
also its routes (for the documentation and for anything this match leaves to it), so both ways
answer alike.
"""

from __future__ import annotations

from app.api.asgi import App, Receive, Scope, Send, send_answer
from app.api.edge import Edge, RawRoute
from app.api.routes.reduce import reduce
from app.api.routes.train import train_step

VERBS: dict[str, RawRoute] = {"reduce": reduce, "train-step": train_step}


class HotPaths:
    """Answers POSTs to the hot verbs; leaves everything else to the app behind.

    Args:
        app: the framework.
        edge: what the routes need.
    """

    def __init__(self, app: App, edge: Edge) -> None:
        self._app = app
        self._edge = edge
        self._default = edge.settings.default_model
        self._short = {f"/{verb}": route for verb, route in VERBS.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a hot verb here, or pass the request on."""
        if scope["type"] == "http" and scope["method"] == "POST":
            path: str = scope["path"]
            route, model = self._short.get(path), self._default
            if route is None:
                route, model = _long(path)
            if route is not None:
                await send_answer(send, await route(self._edge, model, scope, receive))
                return
        await self._app(scope, receive, send)


def _long(path: str) -> tuple[RawRoute | None, str]:
    """The verb and model of `/models/{m}/{verb}`."""
    parts = path.split("/")
    if len(parts) == 4 and parts[1] == "models":
        return VERBS.get(parts[3]), parts[2]
    return None, ""
