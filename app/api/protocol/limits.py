"""What one connection may take of the server: bytes, counts and time."""

from __future__ import annotations

from dataclasses import dataclass

from app.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The settings that hold for every connection, with the names that they have there.

    Attributes:
        max_discarded_bytes: what is read and thrown away behind a refusal, so that whoever sends
            its whole body first gets to read it.
    """

    max_connections: int
    max_header_bytes: int
    max_headers: int
    max_url_bytes: int
    max_chunks: int
    max_discarded_bytes: int
    header_timeout_s: float
    body_idle_timeout_s: float
    body_timeout_s: float
    keep_alive_s: float

    @classmethod
    def of(cls, settings: Settings, *, max_connections: int) -> Limits:
        """The limits of a server; `max_connections` is what its descriptors are enough for."""
        return cls(
            max_connections=max_connections,
            max_header_bytes=settings.max_header_bytes,
            max_headers=settings.max_headers,
            max_url_bytes=settings.max_url_bytes,
            max_chunks=settings.max_chunks,
            max_discarded_bytes=max(settings.max_json_body_bytes, settings.max_binary_body_bytes),
            header_timeout_s=settings.header_timeout_s,
            body_idle_timeout_s=settings.body_idle_timeout_s,
            body_timeout_s=settings.body_timeout_s,
            keep_alive_s=settings.keep_alive_s,
        )

    @property
    def period_s(self) -> float:
        """How often a connection looks whether it is over its time: a quarter of the shortest."""
        return min(self.header_timeout_s, self.body_idle_timeout_s, self.keep_alive_s) / 4
