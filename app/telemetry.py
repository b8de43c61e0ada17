"""Logs and metrics: what an operator sees."""

from __future__ import annotations

import logging
import sys
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from pythonjsonlogger.json import JsonFormatter

_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime"}


class Metrics:
    """The service's own counters, in a registry of their own (no process-wide state).

    What every request counts is counted in plain numbers, by the event loop's thread alone: a
    counter of the registry takes a lock, and costs as much as a small answer's head.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.refusals = Counter(
            "slimvec_refusals", "Requests refused, by code", ["code"], registry=self._registry
        )
        self.records = Counter(
            "slimvec_stream_records",
            "Records of training streams, by outcome: applied, replayed or refused",
            ["model", "outcome"],
            registry=self._registry,
        )
        self.replays = Counter(
            "slimvec_steps_replayed",
            "Single train steps that were answered from the journal, by their Idempotency-Key",
            ["model"],
            registry=self._registry,
        )
        self._rows: Tally[tuple[str, str]] = Tally()
        self._answered: Tally[int] = Tally()
        self._by_bucket = [0] * (len(_BUCKETS_S) + 1)
        self._seconds = 0.0
        self.watch(self._counted)

    def watch(self, tell: Callable[[], Iterable[Metric]]) -> None:
        """Show also what others count themselves; they are asked at each look."""
        self._registry.register(_Told(tell))

    def add_rows(self, model: str, verb: Literal["reduce", "train"], number: int) -> None:
        """Count rows that were reduced or trained on."""
        self._rows[model, verb] += number

    def observe(self, status: int, elapsed_s: float) -> None:
        """Count one answered request."""
        self._answered[status] += 1
        self._by_bucket[bisect_left(_BUCKETS_S, elapsed_s)] += 1
        self._seconds += elapsed_s

    def render(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)

    def _counted(self) -> Iterable[Metric]:
        rows = CounterMetricFamily(
            "slimvec_rows", "Rows reduced or trained on", labels=["model", "verb"]
        )
        for (model, verb), number in sorted(self._rows.items()):
            rows.add_metric([model, verb], number)
        requests = CounterMetricFamily(
            "slimvec_requests", "Requests answered, by status", labels=["status"]
        )
        for status, number in sorted(self._answered.items()):
            requests.add_metric([str(status)], number)
        bounds = [*map(str, _BUCKETS_S), "+Inf"]
        seconds = HistogramMetricFamily(
            "slimvec_request_seconds",
            "Time from headers to answer",
            buckets=list(zip(bounds, accumulate(self._by_bucket), strict=True)),
            sum_value=self._seconds,
        )
        return rows, requests, seconds


class _Told(Collector):
    def __init__(self, tell: Callable[[], Iterable[Metric]]) -> None:
        self._tell = tell

    def collect(self) -> Iterable[Metric]:
        return self._tell()


class _TextFormatter(logging.Formatter):
    """One line a record, its fields as `key=value` behind the message; newline-safe."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        text = super().format(record)
        return text + "".join(f" {key}={value!r}" for key, value in fields.items())


def configure_logging(level: str, style: Literal["text", "json"]) -> None:
    """Send our records, and uvicorn's warnings, to stderr in one style."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter("%(levelname)s %(name)s %(message)s", timestamp=True)
        if style == "json"
        else _TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    for name, least in (("slimvec", level), ("uvicorn", "warning")):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(least.upper())
        logger.propagate = False
