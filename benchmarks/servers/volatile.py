"""Slimvec with a journal that stores nothing: what durability costs is the difference."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from app.api.app import create_app
from app.api.edge import Edge
from app.api.gate import Gate
from app.api.server import Server
from app.engine import Engine, choose_device
from app.service import Service
from app.settings import Settings
from app.storage.repository import Repository
from app.telemetry import Metrics
from app.types import Journal, JournalRow, Json, Position


class VolatileJournal:
    """Counts rows; see `app.types.Journal`."""

    num_bytes = 0

    def __init__(self, position: Position) -> None:
        self.position = position

    def append(self, rows: Sequence[JournalRow]) -> None:
        """Forget them."""
        self.position = Position(rows[-1].seq, 0)

    def rotate(self, version: int) -> Position:
        """There is no file to begin."""
        del version
        return self.position

    def close(self) -> None:
        """There is nothing to give back."""


class VolatileRepository(Repository):
    """Versions on disk, no journal."""

    def open_journal(  # type: ignore[override]  # the service knows it as a Journal only
        self, model: str, version: int, position: Position, environment: Json
    ) -> Journal:
        """A journal that stores nothing."""
        del model, version, environment
        return VolatileJournal(position)


def main(settings: Settings) -> None:
    """Serve like `slimvec serve`, until a signal."""
    store = VolatileRepository(settings.models_dir)
    service = Service(Engine(choose_device(settings.device), settings), store, settings)
    app = create_app(Edge(service, settings, Metrics(), Gate(settings)))
    Server(app, service, settings, announce=_announce).run_until_stopped()


def _announce(url: str) -> None:
    print(url, flush=True)


if __name__ == "__main__":
    models_dir, default_model = Path(sys.argv[1]), sys.argv[2]
    main(
        Settings(
            models_dir=models_dir, default_model=default_model, port=0, device="cpu", threads=1
        )
    )
