"""What clients do in a soak: each visit is one thing that somebody asks of the server."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from websockets.sync.client import connect

from app.types import Json
from tests.crash.wire import Wire
from tests.security.catalogue import ROWS
from tests.security.catalogue.request import (
    NPY,
    SAFETENSORS,
    declared,
    nested,
    npy,
    safetensors,
)
from tests.soak.visitor import OK, Unexpected, Visitor, check
from tests.stream import FRAMES, NDJSON, frame, json_record

MODELS = ("small", "wide", "nested")
_MOST_BAD_BYTES = 32 << 10
# A guard may refuse a step of random rows; the state is then as before.
_TRAINED = frozenset({200, 422})


@dataclass(frozen=True, slots=True)
class Visit:
    """One kind of visit, and how often it comes beside the others."""

    name: str
    weight: int
    make: Callable[[Visitor], object]


def _reduce_json(visitor: Visitor) -> None:
    model = visitor.random.choice(MODELS)
    rows = visitor.rows(model, visitor.random.choice((1, 1, 4, 32)))
    visitor.ask("POST", f"/models/{model}/reduce", nested(str(rows.tolist())))


def _reduce_npy(visitor: Visitor) -> None:
    body = npy(declared(visitor.rows("wide", visitor.random.choice((1, 64, 512)))))
    visitor.ask("POST", "/models/wide/reduce", body, media_type=NPY)


def _reduce_safetensors(visitor: Visitor) -> None:
    body = safetensors({"hidden_states": declared(visitor.rows("wide", 64))})
    visitor.ask("POST", "/models/wide/reduce", body, media_type=SAFETENSORS)


def _infer(visitor: Visitor) -> None:
    rows = visitor.rows("small", 4)
    tensor: Json = {
        "name": "hidden_states",
        "shape": [4, 8],
        "datatype": "FP32",
        "data": rows.tolist(),
    }
    visitor.ask("POST", "/v2/models/small/infer", json.dumps({"inputs": [tensor]}).encode())


def _infer_binary(visitor: Visitor) -> None:
    octets = visitor.rows("small", 4).tobytes()
    tensor: Json = {"name": "hidden_states", "shape": [4, 8], "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": len(octets)}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    visitor.ask(
        "POST",
        "/v2/models/small/infer",
        head + octets,
        Inference_Header_Content_Length=str(len(head)),
    )


def _embed(visitor: Visitor) -> None:
    document = {"model": "small", "input": visitor.rows("small", 2).tolist()}
    visitor.ask("POST", "/v1/embeddings", json.dumps(document).encode())


def _train(visitor: Visitor) -> None:
    model = visitor.random.choice(MODELS)
    body = safetensors({"hidden_states": declared(visitor.rows(model, 16))})
    visitor.ask("POST", f"/models/{model}/train-step", body, _TRAINED, media_type=SAFETENSORS)


def _train_with_key(visitor: Visitor) -> None:
    body, key = nested(str(visitor.rows("small", 8).tolist())), visitor.key()
    first = visitor.ask("POST", "/train-step", body, _TRAINED, Idempotency_Key=key)
    again = visitor.ask("POST", "/train-step", body, _TRAINED, Idempotency_Key=key)
    if first.status == 200 and (not again.is_replayed or again.body != first.body):
        raise Unexpected(f"a retry was answered otherwise: {first.body!r}, {again.body!r}")


def _stream_lines(visitor: Visitor) -> None:
    records = [json_record(visitor.key(), hidden_states=visitor.rows("small", 4)) for _ in range(8)]
    path = "/models/small/train-stream?on_error=skip"
    reply = visitor.ask("POST", path, b"".join(records), media_type=NDJSON)
    _check_settled(reply.body.splitlines()[-1], len(records))


def _stream_frames(visitor: Visitor) -> None:
    frames = [frame(visitor.key(), hidden_states=visitor.rows("wide", 4)) for _ in range(4)]
    path = "/models/wide/train-stream?on_error=skip"
    reply = visitor.ask("POST", path, b"".join(frames), media_type=FRAMES)
    _check_settled(reply.body.splitlines()[-1], len(frames))


def _check_settled(line: bytes, number: int) -> None:
    last = json.loads(line)
    if number not in (last.get("ack"), last.get("record")):
        raise Unexpected(f"a stream of {number} records ended with {last}")


def _websocket(visitor: Visitor) -> None:
    host, port = visitor.address
    with connect(f"ws://{host}:{port}/models/small/train-stream?on_error=skip") as socket_:
        for _ in range(3):
            socket_.send(
                json_record(visitor.key(), hidden_states=visitor.rows("small", 4)).decode()
            )
            socket_.recv()


# Whether the vectors of row 66 are too large depends on weights, which are trained here.
_BAD = [
    row
    for row in ROWS
    if row.status != 200
    and row.number != 66
    and isinstance(row.request.body, bytes)
    and len(row.request.body) <= _MOST_BAD_BYTES
]


def _bad_input(visitor: Visitor) -> None:
    row = visitor.random.choice(_BAD)
    request = row.request
    visitor.ask(
        request.method,
        request.path,
        request.content(),
        frozenset({row.status}),
        media_type=request.content_type or "",
        Accept=request.accept,
        **request.headers,
    )


def _look(visitor: Visitor) -> None:
    model = visitor.random.choice(MODELS)
    path = visitor.random.choice(
        ("/models", f"/models/{model}", f"/models/{model}/state", f"/models/{model}/versions",
         "/metrics", "/health/ready", "/openapi.json", "/docs")
    )  # fmt: skip
    visitor.ask("GET", path)


def _versions(visitor: Visitor) -> None:
    """Write a version, serve it, ask for an older one, serve the newest again."""
    model = visitor.random.choice(MODELS)
    visitor.ask("POST", f"/models/{model}/versions", expected=frozenset({201}))
    version = _retained(visitor, model)
    # Another visitor may have made so many versions meanwhile that this one is gone.
    gone = frozenset({200, 404})
    visitor.ask("PUT", f"/models/{model}/serving", _version(version), gone)
    rows = str(visitor.rows(model, 2).tolist())
    body = nested(rows, version=str(_retained(visitor, model)))
    visitor.ask("POST", f"/models/{model}/reduce", body, gone)
    visitor.ask("PUT", f"/models/{model}/serving", b'{"version": "live"}')


def _go_back(visitor: Visitor) -> None:
    """Roll back, set the learning rate, start anew from data."""
    body = _version(_retained(visitor, "wide"))
    visitor.ask("POST", "/models/wide/rollback", body, frozenset({200, 404}))
    visitor.ask("PATCH", "/models/wide", b'{"lr": 0.001}')
    fit = safetensors({"hidden_states": declared(visitor.rows("small", 64))})
    visitor.ask("POST", "/models/small/fit", fit, media_type=SAFETENSORS)


def _retained(visitor: Visitor, model: str) -> int:
    versions: Sequence[Mapping[str, int]] = visitor.ask("GET", f"/models/{model}/versions").json
    return visitor.random.choice(versions)["version"]


def _version(version: int) -> bytes:
    return json.dumps({"version": version}).encode()


def _create_and_delete(visitor: Visitor) -> None:
    name = f"own-{visitor.number}"
    layers = [{"type": "QRReduction", "n_components": 3}]
    config = {"input_size": 8, "layers": layers, "recipe": "plain"}
    visitor.ask("PUT", f"/models/{name}", json.dumps(config).encode(), frozenset({201}))
    rows = nested(str(visitor.rows("small", 4).tolist()))
    visitor.ask("POST", f"/models/{name}/train-step", rows, _TRAINED)
    visitor.ask("DELETE", f"/models/{name}", expected=frozenset({204}))


def _new_connection(visitor: Visitor) -> None:
    visitor.num_requests += 1
    with Wire(visitor.address) as wire:
        check(wire.send("GET", "/health/live"), OK, "a new connection")


def _hang_up(visitor: Visitor) -> None:
    """Come, say nothing or half of something, and go: in good order or with a reset."""
    said = visitor.random.choice(
        (b"", b"GET /hea", b"POST /reduce HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    )
    with socket.create_connection(visitor.address, timeout=30) as connection:
        connection.sendall(said)
        if visitor.random.random() < 0.5:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


VISITS = (
    Visit("reduce, JSON", 30, _reduce_json),
    Visit("reduce, npy", 20, _reduce_npy),
    Visit("reduce, safetensors", 20, _reduce_safetensors),
    Visit("infer, JSON", 10, _infer),
    Visit("infer, binary", 10, _infer_binary),
    Visit("embeddings", 5, _embed),
    Visit("train step", 10, _train),
    Visit("train step with a key, twice", 10, _train_with_key),
    Visit("stream of lines", 3, _stream_lines),
    Visit("stream of frames", 2, _stream_frames),
    Visit("WebSocket", 2, _websocket),
    Visit("bad input", 20, _bad_input),
    Visit("look", 8, _look),
    Visit("versions", 1, _versions),
    Visit("rollback, PATCH, fit", 1, _go_back),
    Visit("create and delete a model", 1, _create_and_delete),
    Visit("new connection", 6, _new_connection),
    Visit("hang up", 6, _hang_up),
)
