"""Layers over tokens: what each of them promises beyond the battery, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.errors import ConfigInvalid, TooLarge, Unacceptable
from app.layers import KINDS, Context, Declared
from app.layers.kinds.attention import MultiheadAttention, TransformerDecoderLayer
from app.layers.kinds.recurrent import GRU
from app.layers.kinds.token_pooling import TokenPooling

ROWS = torch.tensor([[[1.0, 9.0], [3.0, 5.0], [8.0, 7.0], [0.5, 0.5]]])
MASK = torch.tensor([[False, True, True, False]])


def declare(name: str, shape: tuple[int | None, ...], **arguments: Any) -> Declared:
    return KINDS[name].declare(arguments, shape, pointer="/layers/0")


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("mode", "masked", "whole"),
    [
        ("mean", [5.5, 6.0], [3.125, 5.375]),
        ("max", [8.0, 7.0], [8.0, 9.0]),
        ("cls", [3.0, 5.0], [1.0, 9.0]),
        ("last", [8.0, 7.0], [0.5, 0.5]),
    ],
)
def test_pooling_takes_the_tokens_that_count(
    mode: Any, masked: list[float], whole: list[float]
) -> None:
    pooling = TokenPooling(mode)
    assert pooling(ROWS, Context(mask=MASK)).tolist() == [masked]
    assert pooling(ROWS).tolist() == [whole]


def test_last_step_of_two_directions_has_seen_the_whole_row() -> None:
    torch.manual_seed(0)
    layer = GRU(2, 3, bidirectional=True, output="last").eval()
    _, states = nn.GRU.forward(layer, ROWS)
    torch.testing.assert_close(layer(ROWS), torch.cat([states[0], states[1]], dim=1))


def test_attention_is_torchs_self_attention() -> None:
    torch.manual_seed(0)
    layer, rows = MultiheadAttention(4, 2), normal(2, 3, 4)
    torch.testing.assert_close(
        layer(rows), nn.MultiheadAttention.forward(layer, rows, rows, rows)[0]
    )


def test_decoder_attends_to_the_memory_that_it_trains() -> None:
    torch.manual_seed(0)
    layer, rows = TransformerDecoderLayer(4, 2, 3, dim_feedforward=5).eval(), normal(2, 3, 4)
    memory = layer.memory.expand(2, 3, 4)
    torch.testing.assert_close(layer(rows), nn.TransformerDecoderLayer.forward(layer, rows, memory))
    layer(rows).square().sum().backward()
    assert layer.memory.grad is not None
    assert layer.memory.grad.abs().sum() > 0


def test_mask_behind_a_layer_that_changes_the_number_of_tokens_is_refused() -> None:
    with pytest.raises(Unacceptable, match="make 4 tokens of the 5") as caught:
        TokenPooling()(ROWS, Context(mask=torch.ones(1, 5, dtype=torch.bool)))
    assert (caught.value.code, caught.value.pointer) == ("mask_invalid", "/mask")


def test_attention_over_too_long_rows_is_refused_before_it_takes_memory() -> None:
    layer = MultiheadAttention(8, 8).eval()
    with pytest.raises(Unacceptable, match="at most 5792 tokens"):
        layer(torch.empty(1, 5793, 8))
    with pytest.raises(TooLarge, match="at most 2 rows of 4096 tokens"):
        layer.train()(torch.empty(3, 4096, 8))


def test_serving_cuts_many_long_rows_into_pieces() -> None:
    torch.manual_seed(0)
    layer, rows = MultiheadAttention(2, 2).eval(), normal(3, 2100, 2)
    mask = torch.arange(2100) < torch.tensor([[2100], [5], [1000]])
    whole = layer(rows, Context(mask=mask))
    alone = [layer(rows[at : at + 1], Context(mask=mask[at : at + 1])) for at in range(3)]
    torch.testing.assert_close(whole, torch.cat(alone), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "shape", "arguments", "output"),
    [
        ("Conv1d", (2, None), {"out_channels": 3, "kernel_size": 3, "padding": "same"}, (3, None)),
        ("Conv1d", (2, 9), {"out_channels": 3, "kernel_size": 3, "stride": 2}, (3, 4)),
        ("AdaptiveAvgPool2d", (2, None, None), {"output_size": [3, None]}, (2, 3, None)),
        ("RNN", (None, 3), {"hidden_size": 4, "output": "last"}, (4,)),
        ("LSTM", (5, 3), {"hidden_size": 4, "proj_size": 2, "bidirectional": True}, (5, 4)),
        ("Embedding", (None,), {"num_embeddings": 9, "embedding_dim": 2}, (None, 2)),
        ("Embedding", (3, 2), {"num_embeddings": 9, "embedding_dim": 2}, (3, 2, 2)),
        ("MaxPool2d", (2, 2, 4), {"kernel_size": 3, "stride": 2, "ceil_mode": True}, (2, 1, 2)),
        ("RNN", (None, 3), {"hidden_size": 4, "batch_first": True}, (None, 4)),
        ("MultiheadAttention", (None, 4), {"num_heads": 2, "batch_first": True}, (None, 4)),
        ("Transpose", (None, 3), {"dim0": 1, "dim1": 2}, (3, None)),
        ("Transpose", (4, None, 3), {"dim0": -1, "dim1": 1}, (3, None, 4)),
        ("TokenPooling", (None, 3), {}, (3,)),
    ],
)
def test_output_shape_is_known_before_anything_is_built(
    name: str, shape: tuple[int | None, ...], arguments: dict[str, Any], output: tuple[int, ...]
) -> None:
    assert declare(name, shape, **arguments).output == output


CONV = {"out_channels": 3, "kernel_size": 3}
IDS = {"num_embeddings": 9, "embedding_dim": 2}


@pytest.mark.parametrize(
    ("name", "shape", "arguments", "pointer", "message"),
    [
        ("Conv1d", (2, 2), CONV, "/kernel_size", "at most 2, .* got 3"),
        ("Conv1d", (2, None), CONV, "/kernel_size", "at most 1, .* got 3"),
        ("Conv2d", (2, 9, 5), {**CONV, "dilation": [4, 3]}, "/kernel_size", "at most 2, .* got 3"),
        ("Conv1d", (2, 9), {**CONV, "groups": 2}, "/groups", "divide out_channels, 3, got 2"),
        ("Conv1d", (2, 9), {**CONV, "groups": 3}, "/groups", "divide in_channels, 2, got 3"),
        ("Conv1d", (2, 9), {**CONV, "padding": "same", "stride": 2}, "", "fit rows"),
        ("Conv1d", (2, 9), {**CONV, "kernel_size": [3, 3]}, "/kernel_size", "expected"),
        ("Conv2d", (2, 9), CONV, "/type", "expects rows of 3 dimensions"),
        ("Conv1d", (None, 9), CONV, "/type", "dimension 0"),
        ("Conv1d", (2, 9), {**CONV, "kernel_size": 2000}, "/kernel_size", "from 1 to 1024"),
        ("ConvTranspose2d", (2, 4, 4), {**CONV, "output_padding": 1}, "/output_padding", "less"),
        ("MaxPool2d", (2, 4, 4), {"kernel_size": 5}, "/kernel_size", "at most 4, .* got 5"),
        (
            "MaxPool2d",
            (2, 4, 4),
            {"kernel_size": 2, "padding": 2},
            "/padding",
            "1, got 2",
        ),
        (
            "MaxPool2d",
            (2, 4, 4),
            {"kernel_size": 2, "return_indices": True},
            "/return_indices",
            "false",
        ),
        ("LSTM", (None, 3), {"hidden_size": 4, "proj_size": 4}, "/proj_size", "from 0 .* to 3"),
        ("GRU", (None, 3), {"hidden_size": 4, "output": "first"}, "/output", "'all' or 'last'"),
        (
            "GRU",
            (None, 3),
            {"hidden_size": 4, "batch_first": False},
            "/batch_first",
            "expected true",
        ),
        ("GRU", (None, 3), {"hidden_size": 4, "proj_size": 2}, "/proj_size", "no argument"),
        ("LSTM", (None, 3), {}, "/hidden_size", "expected hidden_size"),
        ("MultiheadAttention", (None, 4), {"num_heads": 3}, "/num_heads", "divide the width"),
        ("MultiheadAttention", (None, 4), {"num_heads": 2, "kdim": 4}, "/kdim", "no argument"),
        ("TransformerDecoderLayer", (None, 4), {"nhead": 2}, "/memory_length", "add it"),
        ("Transpose", (None, 3), {"dim0": 0, "dim1": 1}, "/dim0", "expected -2, -1, 1 or 2, got 0"),
        ("TokenPooling", (None, 3), {"mode": "median"}, "/mode", "'mean', 'cls', 'last' or 'max'"),
        ("Embedding", (3,), {**IDS, "padding_idx": 9}, "/padding_idx", "from -9 to 8"),
        ("Embedding", (3,), {**IDS, "num_embeddings": 1 << 25}, "/num_embeddings", "16777216"),
        ("Embedding", (3,), {**IDS, "sparse": True}, "/sparse", "no argument"),
        ("EmbeddingBag", (3, 2), IDS, "/type", "rows of 1 dimensions"),
        (
            "EmbeddingBag",
            (3,),
            {**IDS, "mode": "max", "scale_grad_by_freq": True},
            "/scale_grad_by_freq",
            "leave one out",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    name: str, shape: tuple[int | None, ...], arguments: dict[str, Any], pointer: str, message: str
) -> None:
    with pytest.raises(ConfigInvalid, match=message) as caught:
        declare(name, shape, **arguments)
    assert caught.value.pointer == f"/layers/0{pointer}"


def test_ids_are_for_the_first_layer_only() -> None:
    layers = [{"type": "Linear", "out_features": 3}, {"type": "Embedding", **IDS}]
    with pytest.raises(ConfigInvalid, match="as the first layer") as caught:
        declare("Sequential", (3,), layers=layers)
    assert caught.value.pointer == "/layers/0/layers/1/type"


def test_dropout_of_a_single_recurrent_layer_is_said_to_do_nothing() -> None:
    told = declare("GRU", (None, 3), hidden_size=4, dropout=0.5)
    assert told.warnings[0].startswith("/layers/0/dropout: has no effect")
    told.make()  # and torch has nothing to warn of
