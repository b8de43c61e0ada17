"""Rows 73 to 75, 79 and 84: what else a train step may not be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.security.catalogue.request import (
    GOLDEN,
    SAFETENSORS,
    Request,
    Row,
    base64_text,
    declared,
    nested,
    row_of,
    safetensors,
)

_PATH = "/train-step"
_GOOD = nested(row_of())
_GOOD_SAFETENSORS = safetensors({"hidden_states": declared(GOLDEN)})
_UNKNOWN = (422, "unknown_field")


def rows() -> Iterator[Row]:
    yield from _labels_and_rates()
    yield from _extremes()
    yield from _headers()


def _labels_and_rates() -> Iterator[Row]:
    """Labels that no class has, labels that the loss does not use; a rate that only PATCH sets."""
    for text in ("[5]", "[-1]", "[-100]", "[1.5]"):
        body = nested(row_of(), labels=text, loss='"cross_entropy"')
        yield _refused(73, f"{text}-json", 422, "labels_invalid", body=body)
    for text in ("0", "-1", "1e30", "true", '"0.1"'):
        yield _refused(74, f"{text}-json", *_UNKNOWN, body=nested(row_of(), lr=text))
    for number, field, refusal in (
        (73, "labels", (422, "field_not_used")),
        (74, "lr", _UNKNOWN),
    ):
        tensors = {"hidden_states": declared(GOLDEN), field: declared(np.ones(1, np.float32))}
        body = safetensors(tensors)
        yield _refused(number, "safetensors", *refusal, body=body, content_type=SAFETENSORS)
        yield _refused(
            number,
            "query",
            *_UNKNOWN,
            path=f"{_PATH}?{field}=1",
            body=_GOOD_SAFETENSORS,
            content_type=SAFETENSORS,
        )
    for text in ("NaN", "Infinity"):
        body = nested(row_of(), lr=text)
        yield _refused(74, f"{text}-json", 400, "malformed_json", body=body)
    for text in ("0", "-1", "1e30", "true", '"0.1"', "[]", "[0.1, 0.1]"):
        code = "wrong_type" if text in ("true", '"0.1"', "[]") else "config_invalid"
        yield _refused(
            74,
            f"{text}-patch",
            422,
            code,
            path="/models/small",
            method="PATCH",
            body=b'{"lr": %b}' % text.encode(),
        )


def _extremes() -> Iterator[Row]:
    """Batches whose loss or gradient no float32 holds, under a loss that is not scale-free."""
    for scale in (1e19, 1e30):
        batch = (np.sin(np.arange(32)).reshape(4, 8) * scale).astype(np.float32)
        path, loss = f"{_PATH}?loss=reconstruction", '"reconstruction"'
        for form, body in (
            ("json", nested(str(batch.tolist()), loss=loss)),
            ("base64", nested(base64_text(declared(batch)), loss=loss)),
        ):
            yield _refused(75, f"{scale:g}-{form}", 422, "step_rejected", body=body)
        body = safetensors({"hidden_states": declared(batch)})
        yield _refused(
            75,
            f"{scale:g}-safetensors",
            422,
            "step_rejected",
            path=path,
            body=body,
            content_type=SAFETENSORS,
        )


def _headers() -> Iterator[Row]:
    bodies = (("json", "application/json", _GOOD), ("binary", SAFETENSORS, _GOOD_SAFETENSORS))
    for form, content_type, body in bodies:
        for number, header, value, status, code in (
            (79, "idempotency-key", "", 400, "bad_idempotency_key"),
            (79, "idempotency-key", "k" * 256, 400, "bad_idempotency_key"),
            (79, "idempotency-key", "a\tb", 400, "bad_idempotency_key"),
            (84, "if-match", "", 400, "bad_if_match"),
            (84, "if-match", "41", 400, "bad_if_match"),
            (84, "if-match", '"0x1"', 400, "bad_if_match"),
            (84, "if-match", '"1", "2"', 400, "bad_if_match"),
            (84, "if-match", 'W/"1"', 400, "bad_if_match"),
            (84, "if-match", '"99"', 412, "version_mismatch"),
        ):
            request = Request(
                path=_PATH, content_type=content_type, headers={header: value}, body=body
            )
            name = f"{value[:8]!r}-{form}"
            yield Row(number=number, name=name, request=request, status=status, code=code)
        request = Request(
            path="/models/scratch/train-step",
            content_type=content_type,
            headers={"if-match": "*"},
            body=body,
        )
        yield Row(number=84, name=f"any-{form}", request=request, status=200)


def _refused(
    number: int,
    name: str,
    status: int,
    code: str,
    *,
    body: bytes,
    path: str = _PATH,
    method: str = "POST",
    content_type: str = "application/json",
) -> Row:
    request = Request(path=path, method=method, content_type=content_type, body=body)
    return Row(number=number, name=name, request=request, status=status, code=code)
