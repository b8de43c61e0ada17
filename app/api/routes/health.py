"""Probes and metrics."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response

from app.api.edge import Edge
from app.api.measurements import measurements
from app.api.schemas import Health
from app.service import Phase, Service

_NOT_READY: dict[Phase, str] = {
    "starting": "models are loading",
    "draining": "the server is shutting down",
    "closed": "the server has shut down",
    "failed": "the start failed; the log says why",
}


def health_routes(edge: Edge) -> APIRouter:
    """Live: the process answers. Ready: models are loaded, warm, and not shutting down."""
    router = APIRouter(tags=["health"])
    edge.metrics.watch(lambda: measurements(edge.service))

    @router.get("/health/live")
    async def live() -> Health:
        """Whether the process answers at all."""
        return _health(edge, "live")

    @router.get("/health/ready", responses={503: {"model": Health}})
    async def ready(response: Response) -> Health:
        """Whether requests should come here: the status is about serving.

        It is 503 also when the default model, or every model, could not be loaded. The body says
        whether models are trained, which ones could not be loaded, and why.
        """
        status = _status(edge)
        if status != "ready":
            response.status_code = 503
            response.headers["retry-after"] = "1"
        return _health(edge, status)

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(edge.metrics.render(), media_type="text/plain; version=0.0.4")

    return router


def _status(edge: Edge) -> Phase | Literal["not_loaded"]:
    service = edge.service
    if service.phase == "ready" and (lost := service.models.not_loaded):
        is_any_loaded = bool(service.summaries())
        if edge.settings.default_model in lost or not is_any_loaded:
            return "not_loaded"
    return service.phase


def _health(edge: Edge, status: Phase | Literal["live", "not_loaded"]) -> Health:
    service, is_serving = edge.service, _status(edge) == "ready"
    faults, not_loaded = service.training_faults, dict(service.models.not_loaded)
    return Health(
        status=status,
        serving=is_serving,
        training=is_serving and not faults and not not_loaded,
        reason=_reason(service),
        stopped={model: fault.code for model, fault in faults.items()},
        not_loaded=not_loaded,
    )


def _reason(service: Service) -> str:
    if service.phase != "ready":
        return service.progress or _NOT_READY[service.phase]
    lost = [f"model {name!r} could not be loaded" for name in service.models.not_loaded]
    by_code = {fault.code: fault.detail for fault in service.training_faults.values()}
    return "; ".join([*lost, *(f"{code}: {detail}" for code, detail in by_code.items())])
