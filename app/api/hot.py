"""The short way to the hot verbs: a path match in front of the framework.

FastAPI's routing costs two to three times the throughput of a small body. The same functions are
also its routes (for the documentation and for anything this match leaves to it), so both ways
answer alike. Streams, which answer while they read, and WebSockets go this way only.
"""

from __future__ import annotations

from app.api.asgi import App, Receive, Scope, Send
from app.api.edge import Edge, RawRoute
from app.api.inference.routes import find_infer
from app.api.openai.embeddings import Embeddings
from app.api.openai.routes import PATHS as EMBEDDINGS
from app.api.routes.look import evaluate, jvp
from app.api.routes.reduce import reduce
from app.api.routes.train import train_step
from app.api.streams.http import train_stream
from app.api.streams.websocket import train_websocket
from app.errors import NotFound

VERBS: dict[str, RawRoute] = {
    "reduce": reduce,
    "train-step": train_step,
    "evaluate": evaluate,
    "jvp": jvp,
}
_STREAM = "train-stream"


class HotPaths:
    """Finds the hot verbs; answers streams; leaves everything else to the app behind.

    Args:
        app: the framework.
        edge: what the routes need.
    """

    def __init__(self, app: App, edge: Edge) -> None:
        self._app = app
        self._edge = edge
        self._default = edge.settings.default_model
        self._short = {f"/{verb}": (route, self._default) for verb, route in VERBS.items()}
        embeddings = Embeddings(edge.settings).answer
        self._short |= dict.fromkeys(EMBEDDINGS, (embeddings, self._default))

    def find(self, scope: Scope) -> tuple[RawRoute, str] | None:
        """The route that makes the whole answer to this request, and the model that it is about."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        path = scope["path"]
        if (short := self._short.get(path)) is not None:
            return short
        verb, model = self._split(path)
        route = VERBS.get(verb)
        return find_infer(path) if route is None else (route, model)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a stream here, or pass the request on."""
        if scope["type"] == "http" and scope["method"] == "POST":
            verb, model = self._split(scope["path"])
            if verb == _STREAM:
                await train_stream(self._edge, model, scope, receive, send)
                return
        elif scope["type"] == "websocket":
            await self._open(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        verb, model = self._split(scope["path"])
        if verb != _STREAM:
            raise NotFound("route_not_found", "there is no WebSocket at this path; see /docs")
        await train_websocket(self._edge, model, scope, receive, send)

    def _split(self, path: str) -> tuple[str, str]:
        """Verb and model of `/{verb}` or `/models/{m}/{verb}`; no verb for any other path."""
        parts = path.split("/")
        if parts[0]:  # no path: nothing that the scopes are looked up for
            return "", ""
        if len(parts) == 2:
            return parts[1], self._default
        if len(parts) == 4 and parts[1] == "models":
            return parts[3], parts[2]
        return "", ""
