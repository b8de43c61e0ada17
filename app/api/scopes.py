"""The one table of who may ask what: each route's scope, decided before the body is read.

A route that is missing here needs `read`, so that nobody without a key learns whether it is there;
`tests/contract/test_scopes.py` walks all routes and fails for one without a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.access import KeyScope

WEBSOCKET = "WEBSOCKET"
_MODEL = "{model}"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a route asks of its caller.

    Attributes:
        scope: none for a route that is open to everybody.
        all_models: it tells of every model, so a key for some of them is not enough.
    """

    scope: KeyScope | None
    all_models: bool = False


OPEN = Needs(None)
READ = Needs(KeyScope.READ)
TRAIN = Needs(KeyScope.TRAIN)
ADMIN = Needs(KeyScope.ADMIN)
READ_ALL = Needs(KeyScope.READ, all_models=True)

# Method and path template → needs. A request is about the model in the part `{model}`, or about the
# default one where its path is in `OF_DEFAULT_MODEL`; where the body names it, the route itself
# asks whether `caller_of(scope)` sees it.
SCOPES: Mapping[tuple[str, str], Needs] = {
    ("POST", "/reduce"): READ,
    ("POST", "/models/{model}/reduce"): READ,
    ("POST", "/train-step"): TRAIN,
    ("POST", "/models/{model}/train-step"): TRAIN,
    ("POST", "/train-stream"): TRAIN,
    ("POST", "/models/{model}/train-stream"): TRAIN,
    (WEBSOCKET, "/train-stream"): TRAIN,
    (WEBSOCKET, "/models/{model}/train-stream"): TRAIN,
    ("POST", "/evaluate"): READ,
    ("POST", "/models/{model}/evaluate"): READ,
    ("POST", "/jvp"): READ,
    ("POST", "/models/{model}/jvp"): READ,
    ("POST", "/fit"): ADMIN,
    ("POST", "/models/{model}/fit"): ADMIN,
    ("GET", "/models"): READ,
    ("GET", "/models/{model}"): READ,
    ("PUT", "/models/{model}"): ADMIN,
    ("PATCH", "/models/{model}"): ADMIN,
    ("DELETE", "/models/{model}"): ADMIN,
    ("GET", "/models/{model}/state"): ADMIN,
    ("GET", "/models/{model}/versions"): READ,
    ("POST", "/models/{model}/versions"): TRAIN,
    ("GET", "/models/{model}/versions/{version}"): READ,
    ("GET", "/models/{model}/versions/{version}/alignment"): READ,
    ("PUT", "/models/{model}/serving"): ADMIN,
    ("POST", "/models/{model}/rollback"): ADMIN,
    ("GET", "/models/{model}/upstream"): READ,
    ("PUT", "/models/{model}/upstream"): ADMIN,
    ("POST", "/v1/embeddings"): READ,
    ("POST", "/embeddings"): READ,
    ("GET", "/v1/models"): READ,
    ("GET", "/v1/models/{id}"): READ,  # with slashes in it, a path that is missing here
    ("GET", "/v2"): READ,
    ("GET", "/v2/"): READ,
    ("GET", "/v2/health/live"): OPEN,
    ("GET", "/v2/health/ready"): OPEN,
    ("GET", "/v2/models"): READ,
    ("GET", "/v2/models/stats"): READ,
    **{
        (method, f"/v2/models/{{model}}{version}{verb}"): READ
        for version in ("", "/versions/{version}")
        for method, verb in (
            ("GET", ""),
            ("GET", "/ready"),
            ("GET", "/config"),
            ("GET", "/stats"),
            ("POST", "/infer"),
        )
    },
    ("POST", "/v2/repository/index"): READ,
    ("POST", "/v2/repository/models/{model}/load"): ADMIN,
    ("POST", "/v2/repository/models/{model}/unload"): ADMIN,
    **{
        (method, path): ADMIN
        for method in ("GET", "POST")
        for path in ("/v2/logging", "/v2/trace/setting", "/v2/models/{model}/trace/setting")
    },
    **{
        (method, f"/v2/{memory}{verb}"): needs
        for memory in ("systemsharedmemory", "cudasharedmemory")
        for method, verb, needs in (
            ("GET", "/status", READ),
            ("GET", "/region/{region}/status", READ),
            ("POST", "/unregister", ADMIN),
            ("POST", "/region/{region}/unregister", ADMIN),
            ("POST", "/region/{region}/register", ADMIN),
        )
    },
    ("GET", "/metrics"): READ_ALL,
    ("GET", "/health/live"): OPEN,
    ("GET", "/health/ready"): OPEN,
    # The page says nothing of this server: it is the same on every one.
    ("GET", "/"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/docs/start.js"): OPEN,
    ("GET", "/docs/swagger-ui.js"): OPEN,
    ("GET", "/docs/swagger-ui.css"): OPEN,
    ("GET", "/openapi.json"): OPEN,
}
OF_DEFAULT_MODEL = frozenset(
    {"/reduce", "/train-step", "/train-stream", "/evaluate", "/jvp", "/fit"}
)


class ScopeTable:
    """Finds what a request needs, and the model that it is about.

    Paths are compared part by part and exactly, as the router does: `//reduce`, `/REDUCE` and
    `/reduce/` are other paths, which are nowhere.

    Args:
        default_model: what the short paths mean.
        table: method and path template → needs.
    """

    def __init__(self, default_model: str, table: Mapping[tuple[str, str], Needs] = SCOPES) -> None:
        self._exact: dict[tuple[str, str], tuple[Needs, str | None]] = {}
        self._by_shape: dict[tuple[str, ...], tuple[Needs, int | None]] = {}
        shapes: dict[int, set[tuple[int, ...]]] = {}
        for (method, path), needs in table.items():
            parts = path.split("/")
            holes = tuple(place for place, part in enumerate(parts) if part.startswith("{"))
            if holes:
                place = parts.index(_MODEL) if _MODEL in parts else None
                self._by_shape[_shape(method, parts, holes)] = needs, place
                shapes.setdefault(len(parts), set()).add(holes)
            else:
                model = default_model if path in OF_DEFAULT_MODEL else None
                self._exact[method, path] = needs, model
        # A literal part wins over a hole, as in the router: fewest holes first.
        self._shapes = {length: sorted(found, key=len) for length, found in shapes.items()}

    def find(self, method: str, path: str) -> tuple[Needs, str | None]:
        """What the request needs, and the name of its model if its path means one."""
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact
        parts = path.split("/")
        for holes in self._shapes.get(len(parts), ()):
            found = self._by_shape.get(_shape(method, parts, holes))
            if found is not None:
                needs, place = found
                return needs, None if place is None else parts[place]
        return READ, None


def _shape(method: str, parts: list[str], holes: tuple[int, ...]) -> tuple[str, ...]:
    shape = [method, *parts]
    for place in holes:
        shape[place + 1] = "{}"
    return tuple(shape)
