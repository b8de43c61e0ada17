"""What the body of a request takes in memory, as a multiple of its bytes.

Measured for the worst body of each form, from its arrival to its answer: the body, its numbers in
float32, the reduced vectors. For JSON that is `0,0,…`, two bytes a number; for binary it is
float16. The parser's own tables (19 bytes for each byte of JSON) come on top once for each thread
that parses, not for each request.
"""

from __future__ import annotations

from app.api.asgi import Scope, headers_of

_JSON = 6
_BINARY = 4
_BINARY_TYPES = frozenset(
    {
        b"application/x-npy",
        b"application/x-safetensors",
        b"application/x-slimvec-frames",
        b"application/octet-stream",
    }
)
# Some clients of the Open Inference Protocol name no media type, but where their JSON ends.
_INFERENCE = b"inference-header-content-length"


def weight_of(scope: Scope) -> int:
    """Bytes of memory for a byte of this request's body."""
    headers = headers_of(scope)
    is_binary = headers.get(b"content-type") in _BINARY_TYPES or _INFERENCE in headers
    return _BINARY if is_binary else _JSON
