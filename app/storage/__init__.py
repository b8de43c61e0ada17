"""Storage: what survives a crash. Speaks bytes and JSON only."""

from __future__ import annotations

from app.storage.lock import lock
from app.storage.repository import Repository

__all__ = ["Repository", "lock"]
