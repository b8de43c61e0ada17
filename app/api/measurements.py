"""What `/metrics` says of the models, asked of them at each look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

from app.service import Service


def measurements(service: Service) -> Iterator[Metric]:
    """Where each model stands, and what its journal costs."""
    yield _loaded(service)
    yield _version(service)
    yield _training(service)
    yield _journal_bytes(service)
    yield _commit_seconds(service)
    yield _refused_steps(service)
    yield _live_version(service)
    yield from _gates(service)
    yield _qualities(service)
    yield _compatibilities(service)
    yield _drift(service)


def _loaded(service: Service) -> Metric:
    gauge = _gauge("model_loaded", "1 where a model is served, 0 where it is not in memory")
    for summary in service.summaries():
        gauge.add_metric((summary.model,), 1)
    for model in service.models.absent:
        gauge.add_metric((model,), 0)
    return gauge


def _version(service: Service) -> Metric:
    gauge = _gauge("model_version", "The newest published version")
    for summary in service.summaries():
        gauge.add_metric((summary.model,), summary.version)
    return gauge


def _training(service: Service) -> Metric:
    gauge = _gauge("training", "1 where changes can be made durable, 0 where training stopped")
    faults = service.training_faults
    for summary in service.summaries():
        gauge.add_metric((summary.model,), summary.model not in faults)
    return gauge


def _journal_bytes(service: Service) -> Metric:
    gauge = _gauge("journal_bytes", "Bytes of the journal file that is being written")
    for model, history in sorted(service.histories.items()):
        gauge.add_metric((model,), history.num_bytes)
    return gauge


def _commit_seconds(service: Service) -> Metric:
    summary = SummaryMetricFamily(
        "slimvec_commit_seconds", "Time to make a group of changes durable", labels=("model",)
    )
    for model, history in sorted(service.histories.items()):
        summary.add_metric((model,), history.num_commits, history.commit_s)
    return summary


def _refused_steps(service: Service) -> Metric:
    counter = CounterMetricFamily(
        "slimvec_steps_refused", "Train steps refused, by reason", labels=("model", "reason")
    )
    for model, reason, number in service.steps_refused:
        counter.add_metric((model, reason), number)
    return counter


def _live_version(service: Service) -> Metric:
    gauge = _gauge("live_version", "What live means: model_version, or less while the gate is shut")
    for live in service.live_models():
        gauge.add_metric((live.name,), live.published.live.stamp.version)
    return gauge


def _gates(service: Service) -> Iterator[Metric]:
    is_open = _gauge("gate_open", "1 where live may follow the newest version, 0 where it waits")
    figures = GaugeMetricFamily(
        "slimvec_gate_figure",
        "nn10 and mrr on held-out vectors, of the version judged last and of the one before it",
        labels=("model", "figure", "of"),
    )
    for live in service.live_models():
        if (gate := live.gate) is None:
            continue
        is_open.add_metric((live.name,), gate.is_open)
        for name, figure in (("nn10", gate.nn10), ("mrr", gate.mrr)):
            if figure is not None:
                figures.add_metric((live.name, name, "judged"), figure.judged)
            if figure is not None and figure.passed is not None:
                figures.add_metric((live.name, name, "passed"), figure.passed)
    yield from (is_open, figures)


def _qualities(service: Service) -> Metric:
    figures = GaugeMetricFamily(
        "slimvec_quality",
        "What the version of the figure `version` keeps of the vectors that the model remembers",
        labels=("model", "figure"),
    )
    for live in service.live_models():
        if live.quality is None:
            continue
        for name, value in asdict(live.quality).items():
            if name != "at" and value is not None:
                figures.add_metric((live.name, name), value)
    return figures


def _compatibilities(service: Service) -> Metric:
    figures = GaugeMetricFamily(
        "slimvec_compatibility",
        "How queries of the checkpoint `version` do in a corpus of the one before it",
        labels=("model", "figure"),
    )
    for live in service.live_models():
        if live.compatibility is None:
            continue
        for name, value in asdict(live.compatibility).items():
            if value is not None:
                figures.add_metric((live.name, name), value)
    return figures


def _drift(service: Service) -> Metric:
    gauge = _gauge("drift", "Share of the usual energy that the map misses of the newest vectors")
    for live in service.live_models():
        if live.drift is not None:
            gauge.add_metric((live.name,), live.drift)
    return gauge


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"slimvec_{name}", text, labels=("model",))
