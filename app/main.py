"""Composition: settings → storage → engine → service → app. Happens once, here."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from app.access import KeyRing, keys_of
from app.api.app import create_app
from app.api.asgi import App
from app.api.edge import Edge
from app.api.gate import Gate
from app.config import Component, ModelConfig
from app.engine import Engine, FitOutcome, choose_device
from app.errors import StartupError, Unacceptable
from app.exchange import ImportedLayer
from app.names import check_model_name
from app.service import Service
from app.service.recovery import Recovered
from app.settings import Settings
from app.storage.lock import lock
from app.storage.repository import Repository
from app.telemetry import Metrics
from app.types import Batch, Embedder
from app.upstream import Upstream

log = logging.getLogger("slimvec.main")


@dataclass(frozen=True, slots=True)
class Assembly:
    """A composed server; `resources` gives the models directory back when closed."""

    app: App
    service: Service
    settings: Settings
    keys: KeyRing | None
    resources: ExitStack


def build(settings: Settings) -> Assembly:
    """Compose a server; with `settings.state_dict`, that file is imported and the default model.

    Raises:
        StartupError: the device is not there, another process has the models directory, there are
            no API keys where they are needed, or the upstream's URL or key cannot be used.
        ArtifactInvalid, Conflict: the state_dict cannot be imported.
    """
    _check_default_model(settings.default_model)
    keys = keys_of(settings)
    with ExitStack() as resources:
        metrics = Metrics()
        service = _build_service(settings, resources, _embedder(settings, metrics))
        if settings.state_dict is not None:
            settings = _import_state_dict(service, settings, settings.state_dict)
        gate = Gate(settings, keys)
        app = create_app(Edge(service, settings, metrics, gate))
        return Assembly(app, service, settings, keys, resources.pop_all())


def import_layer(settings: Settings, path: Path, name: str) -> ImportedLayer:
    """Write a trained layer into the repository; for the command line, without serving."""
    with ExitStack() as resources:
        return _build_service(settings, resources).first_versions.import_file(path, name)


def fit_model(
    settings: Settings,
    name: str,
    config: ModelConfig,
    batches: Iterable[Batch],
    method: Component,
) -> FitOutcome:
    """Write a model made from data into the repository; for the command line, without serving."""
    with ExitStack() as resources:
        return _build_service(settings, resources).first_versions.fit(name, config, batches, method)


def examine_model(settings: Settings, name: str) -> Recovered:
    """How far a model can be had; changes nothing."""
    with ExitStack() as resources:
        return _build_service(settings, resources).repairs.examine(name)


def repair_model(settings: Settings, name: str) -> Recovered:
    """Let a damaged model go on from its last good state."""
    with ExitStack() as resources:
        return _build_service(settings, resources).repairs.repair(name)


def _embedder(settings: Settings, metrics: Metrics) -> Embedder | None:
    if settings.upstream_url is None:
        return None
    upstream = Upstream(settings.upstream_url, settings)
    metrics.watch(upstream.traffic.measurements)
    return upstream


def _build_service(
    settings: Settings, resources: ExitStack, embedder: Embedder | None = None
) -> Service:
    device = choose_device(settings.device)
    is_writable = resources.enter_context(lock(settings.models_dir))
    repository = Repository(settings.models_dir)
    if is_writable:
        repository.sweep()
    else:
        log.warning("the models directory cannot be written: no model in it can change")
    return Service(
        Engine(device, settings),
        repository,
        settings,
        is_writable=is_writable,
        embedder=embedder,
    )


def _check_default_model(name: str) -> None:
    try:
        check_model_name(name)
    except Unacceptable as error:
        raise StartupError("settings_invalid", f"--default-model: {error.detail}") from None


def _import_state_dict(service: Service, settings: Settings, path: Path) -> Settings:
    name = path.stem.lower()
    try:
        check_model_name(name or "unnamed")  # an empty path is refused where the file is read
    except Unacceptable as error:
        raise StartupError(
            "settings_invalid",
            f"the model would be called after the file {path.name!r}: {error.detail}; "
            "rename it, or use: slimvec import FILE --name NAME",
        ) from None
    layer = service.first_versions.import_file(path, name)
    log.info("imported: %s", layer.summary, extra={"model": name})
    return settings.model_copy(update={"default_model": name})
