"""The headers of every answer that keep a browser from doing more with it than it should."""

from __future__ import annotations

from collections.abc import Mapping

_POLICY = "content-security-policy"

SECURITY_HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    _POLICY: "default-src 'none'; frame-ancestors 'none'",
}
# The page of the API runs scripts: its own, and nobody else's.
PAGE_HEADERS: Mapping[str, str] = {
    **SECURITY_HEADERS,
    _POLICY: "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; form-action 'none'; "
    "base-uri 'none'",
}
PAGE = "/docs"
