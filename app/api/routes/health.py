"""Probes and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response

from app.api.edge import Edge
from app.api.schemas import Health


def health_routes(edge: Edge) -> APIRouter:
    """Live: the process answers. Ready: models are loaded, warm, and not shutting down."""
    router = APIRouter(tags=["health"])

    @router.get("/health/live")
    async def live() -> Health:
        """Whether the process answers at all."""
        return _health(edge, "live")

    @router.get("/health/ready", responses={503: {"model": Health}})
    async def ready(response: Response) -> Health:
        """Whether requests should come here."""
        if edge.service.phase != "ready":
            response.status_code = 503
            response.headers["retry-after"] = "1"
        return _health(edge, edge.service.phase)

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(edge.metrics.render(), media_type="text/plain; version=0.0.4")

    return router


def _health(edge: Edge, status: str) -> Health:
    is_ready = edge.service.phase == "ready"
    return Health(status=status, serving=is_ready, training=is_ready)
