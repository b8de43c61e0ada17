"""The gate: whether this request may be asked at all, decided before its body is read."""

from __future__ import annotations

from app.api.asgi import Scope


class Gate:
    """Host, origin, API key and scope of a request."""

    def check(self, scope: Scope) -> None:
        """Let a request pass, or refuse it; sets `scope["sender"]` to the id of its API key."""
        scope["sender"] = ""
