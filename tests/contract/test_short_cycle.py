"""The short cycle and ASGI answer alike: the same conversations, byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest
from safetensors.numpy import save

from tests.conftest import MODELS
from tests.security.wire import Head, Wire
from tests.server import RunningServer, create, serving

_OWN = re.compile(
    rb'(date: |server-timing: total;dur=|request-id: (?!same)|"instance":"(?!same))[^\r"]*'
)
_JSON = "Content-Type: application/json"
_TENSORS = "Content-Type: application/x-safetensors"
_CLOSE = "Connection: close"
_ROWS = np.arange(16, dtype=np.float32).reshape(2, 8)
_BODY = json.dumps({"hidden_states": _ROWS.tolist()}).encode()
_OCTETS = save({"hidden_states": _ROWS})
_STEP = save({"hidden_states": _ROWS, "targets": _ROWS[:, :3].copy()})


def post(
    *headers: str,
    path: str = "/reduce",
    body: bytes = _BODY,
    version: str = "1.1",
    kind: str = _JSON,
) -> bytes:
    """One request, whole; its id is fixed, so that refusals that name it are comparable."""
    given = (kind, f"Content-Length: {len(body)}", "Request-Id: same", *headers)
    return Head(line=f"POST {path} HTTP/{version}", headers=given).encode() + body


def chunked(*headers: str) -> bytes:
    """A request whose body comes in two chunks."""
    given = (_JSON, "Transfer-Encoding: chunked", "Request-Id: same", *headers)
    head = Head(headers=given).encode()
    halves = (_BODY[:20], _BODY[20:])
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves)
    return head + chunks + b"0\r\n\r\n"


LAST = post(_CLOSE)
GET = Head(line="GET /models/small HTTP/1.1", headers=("Request-Id: same",)).encode()

# A conversation is a list of pieces; whoever sends it then reads until the server closes.
CONVERSATIONS: dict[str, list[bytes]] = {
    "json": [LAST],
    "safetensors": [post(_CLOSE, kind=_TENSORS, body=_OCTETS)],
    "another-form": [post(_CLOSE, "Accept: application/x-npy")],
    "of-a-model": [post(_CLOSE, path="/models/nested/reduce")],
    "options": [post(_CLOSE, path="/reduce?normalize=true", kind=_TENSORS, body=_OCTETS)],
    "inference": [
        post(
            _CLOSE,
            "Inference-Header-Content-Length: 0",
            path="/v2/models/small/infer",
            kind="Content-Type: application/octet-stream",
            body=_ROWS.tobytes(),
        )
    ],
    "vectors": [
        post(
            _CLOSE,
            path="/v1/embeddings",
            body=json.dumps({"model": "small", "input": _ROWS.tolist()}).encode(),
        )
    ],
    "step": [post(_CLOSE, path="/train-step", kind=_TENSORS, body=_STEP)],
    "step-with-key": [
        post("Idempotency-Key: k1", path="/train-step", kind=_TENSORS, body=_STEP) * 2
        + post(_CLOSE, "Idempotency-Key: k1", path="/train-step", kind=_TENSORS, body=_STEP)
    ],
    "kept-alive": [post(), post(kind=_TENSORS, body=_OCTETS), LAST],
    "pipelined": [post() * 5 + LAST],
    "pipelined-with-others": [GET + post() + GET + chunked() + post() + LAST],
    "pipelined-behind-a-step": [
        post(path="/train-step", kind=_TENSORS, body=_STEP) + post() + GET + LAST
    ],
    "in-pieces": [LAST[:9], LAST[9:80], LAST[80:-30], LAST[-30:-1], LAST[-1:]],
    "http-1.0": [post(version="1.0")],
    "http-1.0-kept-alive": [post("Connection: keep-alive", version="1.0")],
    "chunked": [chunked(_CLOSE)],
    "expecting": [post("Expect: 100-continue", _CLOSE)],
    "upgrading": [post("Connection: upgrade", "Upgrade: h2c")],
    "empty": [post(_CLOSE, body=b"")],
    "without-length": [Head(headers=(_JSON, "Request-Id: same", _CLOSE)).encode()],
    "malformed": [post(_CLOSE, body=b"{")],
    "ragged": [post(_CLOSE, body=b'{"hidden_states": [[1], [1, 2]]}')],
    "wrong-width": [post(_CLOSE, body=b'{"hidden_states": [1]}')],
    "no-such-model": [post(_CLOSE, path="/models/none/reduce")],
    "no-such-media-type": [post(_CLOSE, kind="Content-Type: text/plain")],
    "not-acceptable": [post(_CLOSE, "Accept: text/plain")],
    "encoded": [post(_CLOSE, "Content-Encoding: gzip")],
    "too-large-and-not-sent": [
        Head(headers=(_JSON, "Content-Length: 99999999", "Request-Id: same")).encode()
    ],
    "refused-and-then-sent": [post("Accept: text/plain")[:-40], post()[-40:], LAST],
    "cut-short-by-garbage": [post() + b"\x00\x01 garbage\r\n\r\n"],
    "foreign-host": [Head(host="elsewhere", headers=(_JSON, "Request-Id: same", _CLOSE)).encode()],
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, RunningServer]]:
    """The same models behind both transports."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(serving(tmp_path_factory.mktemp("models"), short_cycle=is_short))
            for is_short in (True, False)
        ]
        for server in servers:
            for name in ("small", "nested"):
                create(server, name, MODELS[name])
        yield servers[0], servers[1]


def answers(server: RunningServer, pieces: list[bytes]) -> bytes:
    """Everything that the server says, without times and made-up ids."""
    with Wire(server) as wire:
        wire.send(*pieces)
        return _OWN.sub(rb"\1-", wire.read_to_end())


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_both_transports_answer_with_the_same_bytes(
    pair: tuple[RunningServer, RunningServer], name: str
) -> None:
    short, long = (answers(server, CONVERSATIONS[name]) for server in pair)
    assert short == long
    assert short.startswith(b"HTTP/1.1 ")
