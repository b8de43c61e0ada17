"""What a bad answer of the upstream means for whoever asked."""

from __future__ import annotations

import re
from math import ceil, isfinite

import orjson

from app.errors import QueueFull, SlimvecError, Unacceptable, UpstreamFailed, UpstreamUnavailable
from app.upstream.line import RawAnswer

_LONGEST_PAUSE_S = 3600
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def refusal_of(answer: RawAnswer) -> SlimvecError:
    """The error to raise for an answer that holds no embeddings.

    None of the upstream's sentences: they may repeat the texts.
    """
    status = answer.status
    if status == 429:
        detail = "the upstream has too many requests already; try again later"
        return QueueFull("upstream_busy", detail, retry_after_s=_retry_after_s(answer))
    if status == 503:
        detail = "the upstream is not available now; try again later"
        return UpstreamUnavailable(detail, retry_after_s=_retry_after_s(answer))
    if status in (400, 413, 422):
        return Unacceptable(
            "upstream_refused",
            f"the upstream refuses this input with status {status}{_word(answer)}; "
            "it may be too long for its model",
            pointer="/input",
        )
    if status in (401, 403):
        return UpstreamFailed(
            "upstream_unauthorized",
            f"the upstream does not let this server in (status {status}); see SLIMVEC_UPSTREAM_KEY",
        )
    return UpstreamFailed("upstream_failed", f"the upstream answered with status {status}")


def _retry_after_s(answer: RawAnswer) -> int:
    """The pause that it asks for, in seconds from 1; a date is taken for the shortest."""
    try:
        seconds = float(answer.headers.get("retry-after", "1"))
    except ValueError:
        return 1
    return min(max(ceil(seconds), 1), _LONGEST_PAUSE_S) if isfinite(seconds) else 1


def _word(answer: RawAnswer) -> str:
    """The error's machine word, where there is one that can be nothing else."""
    try:
        code = orjson.loads(answer.body)["error"]["code"]
    except (ValueError, TypeError, LookupError):
        return ""
    return f" ({code})" if isinstance(code, str) and _WORD.fullmatch(code) else ""
