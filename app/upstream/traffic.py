"""What went to the upstream, counted for `/metrics`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, SummaryMetricFamily


class Traffic:
    """Counts requests to the upstream; by the event loop's thread alone."""

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._seconds = 0.0

    def count(self, outcome: str, elapsed_s: float) -> None:
        """One request: answered, or the code of what went wrong."""
        self._outcomes[outcome] += 1
        self._seconds += elapsed_s

    def measurements(self) -> Iterable[Metric]:
        """What was counted."""
        requests = CounterMetricFamily(
            "slimvec_upstream_requests",
            "Requests to the upstream: answered, cancelled, or the code of what went wrong",
            labels=["outcome"],
        )
        for outcome, number in sorted(self._outcomes.items()):
            requests.add_metric([outcome], number)
        seconds = SummaryMetricFamily(
            "slimvec_upstream_request_seconds",
            "Time that the upstream took, with all tries",
            count_value=self._outcomes.total(),
            sum_value=self._seconds,
        )
        return requests, seconds
