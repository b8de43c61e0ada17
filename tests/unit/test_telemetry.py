from __future__ import annotations

from app.telemetry import Metrics


def shown(metrics: Metrics, name: str) -> list[str]:
    """The lines of one metric, without its help."""
    return [line for line in metrics.render().decode().splitlines() if line.startswith(name)]


def test_answers_are_counted_by_status() -> None:
    metrics = Metrics()
    for status in (200, 200, 422):
        metrics.observe(status, 0.001)
    assert shown(metrics, "slimvec_requests_total") == [
        'slimvec_requests_total{status="200"} 2.0',
        'slimvec_requests_total{status="422"} 1.0',
    ]


def test_rows_are_counted_by_model_and_verb() -> None:
    metrics = Metrics()
    metrics.add_rows("a", "reduce", 3)
    metrics.add_rows("a", "train", 5)
    metrics.add_rows("a", "reduce", 4)
    assert shown(metrics, "slimvec_rows_total") == [
        'slimvec_rows_total{model="a",verb="reduce"} 7.0',
        'slimvec_rows_total{model="a",verb="train"} 5.0',
    ]


def test_times_fall_into_buckets_that_each_hold_the_ones_before() -> None:
    metrics = Metrics()
    for seconds in (0.0005, 0.002, 0.002, 30.0):
        metrics.observe(200, seconds)
    lines = shown(metrics, "slimvec_request_seconds")
    counts = [float(line.split()[-1]) for line in lines if "_bucket" in line]
    assert counts == [1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4]
    assert 'slimvec_request_seconds_bucket{le="0.0005"} 1.0' in lines
    assert 'slimvec_request_seconds_bucket{le="+Inf"} 4.0' in lines
    assert "slimvec_request_seconds_count 4.0" in lines
    assert "slimvec_request_seconds_sum 30.0045" in lines
