"""Probes and metrics."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response

from app.api.edge import Edge
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
    edge.metrics.watch_refused_steps(lambda: edge.service.steps_refused)

    @router.get("/health/live")
    async def live() -> Health:
        """Whether the process answers at all."""
        return _health(edge, "live")

    @router.get("/health/ready", responses={503: {"model": Health}})
    async def ready(response: Response) -> Health:
        """Whether requests should come here: the status is about serving.

        The body also says whether models are trained, and if not, why.
        """
        if edge.service.phase != "ready":
            response.status_code = 503
            response.headers["retry-after"] = "1"
        return _health(edge, edge.service.phase)

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(edge.metrics.render(), media_type="text/plain; version=0.0.4")

    return router


def _health(edge: Edge, status: Phase | Literal["live"]) -> Health:
    faults, is_ready = edge.service.training_faults, edge.service.phase == "ready"
    return Health(
        status=status,
        serving=is_ready,
        training=is_ready and not faults,
        reason=_reason(edge.service),
        stopped={model: fault.code for model, fault in faults.items()},
    )


def _reason(service: Service) -> str:
    if service.phase != "ready":
        return service.progress or _NOT_READY[service.phase]
    by_code = {fault.code: fault.detail for fault in service.training_faults.values()}
    return "; ".join(f"{code}: {detail}" for code, detail in by_code.items())
