"""GET …/stats: the counters of models, as Triton's statistics extension has them."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Request

from app.api.edge import Edge
from app.api.errors import documented
from app.api.gate import caller_of
from app.api.inference.models import ROOT, add_of_model
from app.api.inference.schemas import (
    DurationStatistics,
    InferenceStatistics,
    MemoryUsage,
    ModelStatistics,
    StatisticsAnswer,
)
from app.api.inference.statistics import Duration, Record
from app.api.inference.versions import describe
from app.errors import NotFound, Unavailable

_NOTHING = DurationStatistics(count=0, ns=0)


def statistics_routes(edge: Edge) -> APIRouter:
    """The counters of one model or all."""
    router = APIRouter(tags=["inference"])

    @router.get(f"{ROOT}/models/stats", responses=documented(500, path=ROOT))
    async def statistics_of_all(request: Request) -> StatisticsAnswer:
        """The counters of every model in memory that the caller may see."""
        sees = caller_of(request.scope).sees
        counted = []
        for name in [m.model for m in edge.service.summaries() if sees(m.model)]:
            with suppress(NotFound, Unavailable):  # it went meanwhile
                counted.append(_of(edge, name))
        return StatisticsAnswer(model_stats=counted)

    add_of_model(router, edge, "/stats", _statistics, StatisticsAnswer)
    return router


async def _statistics(edge: Edge, model: str, version: str | None) -> StatisticsAnswer:
    """The counters of one model over this protocol since the start.

    All of its versions are counted together: training makes a new one with each step.
    """
    if version is not None:
        await describe(edge, model, version)
    return StatisticsAnswer(model_stats=[_of(edge, model)])


def _of(edge: Edge, model: str) -> ModelStatistics:
    live = edge.service.live(model)
    record = edge.inference.statistics.of(model)
    device = edge.service.device.name
    num_bytes = sum(array.nbytes for array in live.served.tensors.values())
    return ModelStatistics(
        name=model,
        version=str(live.served.stamp.version),
        last_inference=record.last_ms,
        inference_count=record.num_rows,
        execution_count=record.num_runs,
        inference_stats=_durations(record),
        response_stats={},
        batch_stats=[],
        memory_usage=[
            MemoryUsage(
                type="CPU" if device == "cpu" else "GPU",
                id=int(device.partition(":")[2] or 0),
                byte_size=num_bytes,
            )
        ],
    )


def _durations(record: Record) -> InferenceStatistics:
    return InferenceStatistics(
        success=_duration(record.success),
        fail=_duration(record.fail),
        queue=_NOTHING,
        compute_input=_duration(record.compute_input),
        compute_infer=_duration(record.compute_infer),
        compute_output=_duration(record.compute_output),
        cache_hit=_NOTHING,
        cache_miss=_NOTHING,
    )


def _duration(duration: Duration) -> DurationStatistics:
    return DurationStatistics(count=duration.count, ns=duration.ns)
