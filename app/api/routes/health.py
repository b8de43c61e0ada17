"""Probes and metrics."""

from __future__ import annotations

from typing import Literal, TypeAlias

from fastapi import APIRouter, Request, Response

from app.access import Caller
from app.api.edge import Edge
from app.api.gate import caller_of
from app.api.measurements import measurements
from app.api.schemas import Health
from app.errors import Unavailable
from app.service import Phase, Service

_NOT_READY: dict[Phase, str] = {
    "starting": "models are loading",
    "draining": "the server is shutting down",
    "closed": "the server has shut down",
    "failed": "the start failed; the log says why",
}

_SHORT_OF_MEMORY = "one request after the other found no memory"

_Status: TypeAlias = Phase | Literal["not_loaded", "out_of_memory"]


def health_routes(edge: Edge) -> APIRouter:
    """Live: the process answers. Ready: models are loaded, warm, and not shutting down."""
    router = APIRouter(tags=["health"])
    edge.metrics.watch(lambda: measurements(edge.service))

    @router.get("/health/live")
    async def live(request: Request) -> Health:
        """Whether the process answers at all."""
        return _health(edge, "live", caller_of(request.scope))

    @router.get("/health/ready", responses={503: {"model": Health}})
    async def ready(request: Request, response: Response) -> Health:
        """Whether requests should come here: the status is about serving.

        It is 503 also when the default model, or every model, could not be loaded, and when three
        batches in a row found no memory, until one does or half a minute has passed. The body says
        whether models are trained, which ones could not be loaded, and why; where API keys are
        wanted, names and reasons only to whoever brings one.
        """
        status = _status(edge)
        if status != "ready":
            response.status_code = 503
            response.headers["retry-after"] = "1"
        return _health(edge, status, caller_of(request.scope))

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(edge.metrics.render(), media_type="text/plain; version=0.0.4")

    return router


def refuse_unready(edge: Edge) -> None:
    """Refuse where requests should not come here, as the probe does.

    Raises:
        Unavailable: `not_ready`.
    """
    if _status(edge) != "ready":
        raise Unavailable("not_ready", _reason_for_strangers(edge.service))


def _status(edge: Edge) -> _Status:
    service = edge.service
    if service.life.phase != "ready":
        return service.life.phase
    if lost := service.models.not_loaded:
        is_any_loaded = bool(service.summaries())
        if edge.settings.default_model in lost or not is_any_loaded:
            return "not_loaded"
    return "out_of_memory" if service.is_short_of_memory else "ready"


def _health(edge: Edge, status: _Status | Literal["live"], caller: Caller) -> Health:
    service, is_serving = edge.service, _status(edge) == "ready"
    faults, not_loaded = service.training_faults, service.models.not_loaded
    return Health(
        status=status,
        serving=is_serving,
        training=is_serving and not faults and not not_loaded,
        reason=_reason(service) if caller.sees_all else _reason_for_strangers(service),
        stopped={model: fault.code for model, fault in faults.items() if caller.sees(model)},
        not_loaded={model: why for model, why in not_loaded.items() if caller.sees(model)},
    )


def _reason_for_strangers(service: Service) -> str:
    """The reason in fixed words: names of models and files are not for everybody."""
    if service.life.phase != "ready":
        return _NOT_READY[service.life.phase]
    if service.models.not_loaded:
        return "a model could not be loaded"
    if service.is_short_of_memory:
        return _SHORT_OF_MEMORY
    return "a model is not trained" if service.training_faults else ""


def _reason(service: Service) -> str:
    if service.life.phase != "ready":
        return service.progress or _NOT_READY[service.life.phase]
    lost = [f"model {name!r} could not be loaded" for name in service.models.not_loaded]
    short = [_SHORT_OF_MEMORY] if service.is_short_of_memory else []
    by_code = {fault.code: fault.detail for fault in service.training_faults.values()}
    return "; ".join([*lost, *short, *(f"{code}: {detail}" for code, detail in by_code.items())])
