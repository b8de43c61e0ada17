from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import numpy as np
import pytest

from app.api.asgi import Message
from app.api.inference.payload import read_payload
from app.codecs import Buffer
from app.codecs.inference import InferenceCodec
from app.engine import Admission
from app.errors import QueueFull
from app.settings import Settings

ROWS = np.random.default_rng(2).standard_normal((64, 4), np.float32)


def body_of(name: str) -> tuple[bytes, int]:
    tensor = {"name": "hidden_states", "shape": [64, 4], "datatype": "FP32",
              "parameters": {"binary_data_size": ROWS.nbytes}}  # fmt: skip
    head = json.dumps({"id": name, "inputs": [tensor]}).encode()
    return head + ROWS.tobytes(), len(head)


def read(body: bytes, length: int, num_parts: int, **headers: str) -> Buffer:
    """What the route gets of a body that comes in parts."""
    size = -(-len(body) // num_parts)
    parts = [body[begin : begin + size] for begin in range(0, len(body), size)]
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": part is not parts[-1]} for part in parts
    ]

    async def receive() -> Message:
        return messages.pop(0)

    named = {"inference-header-content-length": str(length), **headers}
    pairs = [(key.replace("_", "-").encode(), text.encode()) for key, text in named.items()]
    admission = Admission(2, 4096)
    admission.admit(1)  # another one's: a request alone gets any room
    scope: dict[str, Any] = {"type": "http", "headers": pairs, "ticket": admission.admit()}
    payload, found = asyncio.run(read_payload(scope, receive, Settings()))
    assert found == length
    return payload


@pytest.mark.parametrize("lead", range(0, 17))
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_tensor_in_parts_is_aligned_and_never_copied(lead: int, encoding: str) -> None:
    body, length = body_of("x" * lead)
    sent = gzip.compress(body) if encoding else body
    payload = read(sent, length, 3, **({"content_encoding": encoding} if encoding else {}))
    array = InferenceCodec().decode(payload, length, input_size=4, max_rows=64).hidden_states
    assert array.tobytes() == ROWS.tobytes()
    assert np.shares_memory(array, np.frombuffer(payload, np.uint8))
    assert array.ctypes.data % 16 == 0


def test_what_a_body_becomes_needs_room_too() -> None:
    with pytest.raises(QueueFull):
        read(gzip.compress(bytes(5000)), 0, 1, content_encoding="gzip")
