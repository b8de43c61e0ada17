"""Bodies that work: what "Try it out" sends on the page of the API."""

from __future__ import annotations

from base64 import b64encode
from json import dumps

import numpy as np

from app.types import Json


def _wave(*shape: int) -> Json:
    """Numbers of some shape, in the form that takes one line."""
    values = np.sin(np.arange(np.prod(shape))).astype("<f2")
    data = b64encode(values.tobytes()).decode()
    return {"shape": list(shape), "dtype": "float16", "data": data}


def _example(summary: str, value: Json | str) -> Json:
    return {"summary": summary, "value": value}


# What "Try it out" sends. The first of each verb fits the demo model and that of the config below.
REDUCE_EXAMPLES: Json = {
    "base64": _example(
        "one row of 384 numbers, as base64",
        {"hidden_states": _wave(1, 384), "normalize": True},
    ),
    "lists": _example(
        "nested lists, for a model with input_size 4",
        {"hidden_states": [[0.1, -0.2, 0.3, 0.4]], "version": "live", "encoding": "base64"},
    ),
}
TRAIN_EXAMPLES: Json = {
    "base64": _example(
        "two rows of 384 numbers, as base64",
        {"hidden_states": _wave(2, 384), "sample_weights": [1.0, 0.5]},
    ),
    "lists": _example(
        "nested lists and targets, for a model with input_size 4 and n_components 2",
        {
            "hidden_states": [[0.1, -0.2, 0.3, 0.4], [0.4, 0.3, -0.2, 0.1]],
            "targets": [[0.1, 0.4], [0.4, 0.1]],
            "loss": "mse",
        },
    ),
    "pairs": _example(
        "two rows with what belongs to each, for a model with input_size 4",
        {
            "hidden_states": [[0.1, -0.2, 0.3, 0.4], [0.4, 0.3, -0.2, 0.1]],
            "positives": [[0.1, -0.1, 0.3, 0.3], [0.5, 0.3, -0.1, 0.1]],
            "loss": {"type": "contrastive", "scale": 20},
        },
    ),
    "labels": _example(
        "two rows of two classes, for a model with input_size 4 and n_components of at least 2",
        {
            "hidden_states": [[0.1, -0.2, 0.3, 0.4], [0.4, 0.3, -0.2, 0.1]],
            "labels": [0, 1],
            "loss": "cross_entropy",
        },
    ),
}
EVALUATE_EXAMPLES: Json = {
    "base64": _example(
        "twelve rows of 384 numbers with what belongs to each, as base64",
        {
            "hidden_states": _wave(12, 384),
            "positives": _wave(12, 384),
            "loss": ["distil", {"type": "contrastive", "scale": 20}],
        },
    ),
    "lists": _example(
        "nested lists, for a model with input_size 4",
        {"hidden_states": [[0.1, -0.2, 0.3, 0.4], [0.4, 0.3, -0.2, 0.1]], "version": "live"},
    ),
}
JVP_EXAMPLES: Json = {
    "base64": _example(
        "one row of 384 numbers and its tangent, as base64",
        {"hidden_states": _wave(1, 384), "tangents": _wave(1, 384)},
    ),
    "lists": _example(
        "nested lists, for a model with input_size 4",
        {"hidden_states": [[0.1, -0.2, 0.3, 0.4]], "tangents": [[1.0, 0.0, 0.0, 0.0]]},
    ),
}
FIT_EXAMPLES: Json = {
    "base64": _example(
        "four rows of 384 numbers, as base64; many more are advised",
        {"hidden_states": _wave(4, 384), "method": "pca"},
    ),
    "lists": _example(
        "nested lists, for a model with input_size 4, n_components 2 and a bias",
        {
            "hidden_states": [[0.1, -0.2, 0.3, 0.4], [0.4, 0.3, -0.2, 0.1], [0.0, 0.5, 0.1, 0.2]],
            "method": {"type": "pca", "center": True},
        },
    ),
}
FIT_STREAM_EXAMPLES: Json = {
    "lists": _example(
        "two records for a model with input_size 4",
        '{"hidden_states": [[0.1, -0.2, 0.3, 0.4], [0.4, 0.3, -0.2, 0.1]]}\n'
        '{"hidden_states": [[0.0, 0.5, 0.1, 0.2]]}\n',
    ),
}
# Text, not an object: each record has a line of its own.
STREAM_EXAMPLES: Json = {
    "base64": _example(
        "two records of two rows of 384 numbers, as base64",
        "".join(
            dumps({"key": f"monday-{number}", "hidden_states": _wave(2, 384)}) + "\n"
            for number in (1, 2)
        ),
    ),
    "lists": _example(
        "two records for a model with input_size 4 and n_components 2",
        '{"hidden_states": [[0.1, -0.2, 0.3, 0.4]], "targets": [[0.1, 0.4]], "loss": "mse"}\n'
        '{"hidden_states": [[0.4, 0.3, -0.2, 0.1]], "targets": [[0.4, 0.1]], "loss": "mse"}\n',
    ),
}
SERVING_EXAMPLES: Json = {
    "pin": _example("a retained version", {"version": 1}),
    "live": _example("the newest, always", {"version": "live"}),
}
ROLLBACK_EXAMPLES: Json = {"back": _example("to version 1", {"version": 1})}
CONFIGURE_EXAMPLES: Json = {"lr": _example("for every parameter group", {"lr": 0.0005})}
CONFIG_EXAMPLES: Json = {
    "config": _example(
        "384 to 96",
        {
            "input_size": 384,
            "layers": [{"type": "QRReduction", "n_components": 96, "parametrization": "qr"}],
            "loss": {"type": "similarity"},
            "optimizer": {
                "type": "AdamW",
                "lr": 0.001,
                "groups": [{"match": "Q_reduced$", "weight_decay": 0.0}],
            },
        },
    ),
    "small": _example(
        "4 to 2, with a bias",
        {
            "input_size": 4,
            "layers": [{"type": "QRReduction", "n_components": 2, "bias": True}],
            "loss": "mse",
        },
    ),
}
