"""Logs and metrics: what an operator sees."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, generate_latest
from prometheus_client.registry import Collector
from pythonjsonlogger.json import JsonFormatter

_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime"}


class Metrics:
    """The service's own counters, in a registry of their own (no process-wide state)."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.refusals = Counter(
            "slimvec_refusals", "Requests refused, by code", ["code"], registry=self._registry
        )
        self.rows = Counter(
            "slimvec_rows", "Rows reduced or trained on", ["model", "verb"], registry=self._registry
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
        self._requests = Counter(
            "slimvec_requests", "Requests answered, by status", ["status"], registry=self._registry
        )
        self._answered: dict[
            int, Counter
        ] = {}  # looked up once each: labels() costs as much as inc
        self._seconds = Histogram(
            "slimvec_request_seconds",
            "Time from headers to answer",
            buckets=_BUCKETS_S,
            registry=self._registry,
        )

    def watch(self, tell: Callable[[], Iterable[Metric]]) -> None:
        """Show also what others count themselves; they are asked at each look."""
        self._registry.register(_Told(tell))

    def observe(self, status: int, elapsed_s: float) -> None:
        """Count one answered request."""
        if (answered := self._answered.get(status)) is None:
            answered = self._answered[status] = self._requests.labels(str(status))
        answered.inc()
        self._seconds.observe(elapsed_s)

    def render(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)


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
