"""Layers in which the tokens of a row look at each other; a mask says which of them are seen.

A row in which no token counts would make NaN of everything: the service refuses it.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import torch
from torch import Tensor, nn

from app.layers.arguments import EPSILONS, SHARES, WIDTHS
from app.layers.attending import Attending, in_pieces
from app.layers.kind import KINDS, NO_CONTEXT, Context

_Width: TypeAlias = Annotated[int, WIDTHS]
_Share: TypeAlias = Annotated[float, SHARES]
_Epsilon: TypeAlias = Annotated[float, EPSILONS]
_Heads: TypeAlias = Annotated[int, range(1, 1025)]
_Memory: TypeAlias = Annotated[int, range(1, 4097)]
_Activation: TypeAlias = Literal["relu", "gelu"]


class MultiheadAttention(nn.MultiheadAttention):
    """Torch's, of a row with itself, without the weights.

    Shape: rows (rows, length, embed_dim); returns the same.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: _Heads,
        dropout: _Share = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
    ) -> None:
        super().__init__(
            embed_dim,
            num_heads,
            dropout=float(dropout),
            bias=bias,
            add_bias_kv=add_bias_kv,
            add_zero_attn=add_zero_attn,
            batch_first=True,
        )

    def forward(  # type: ignore[override]  # self-attention: query, key and value are the same
        self, rows: Tensor, context: Context = NO_CONTEXT
    ) -> Tensor:
        """What each token makes of those that count."""
        return in_pieces(self, self.num_heads, rows, context, self._attend)

    def _attend(self, rows: Tensor, hidden: Tensor | None) -> Tensor:
        attended, _ = super().forward(rows, rows, rows, key_padding_mask=hidden, need_weights=False)
        return attended


class TransformerEncoderLayer(nn.TransformerEncoderLayer):
    """Torch's, with batch first.

    Shape: rows (rows, length, d_model); returns the same.
    """

    def __init__(
        self,
        d_model: int,
        nhead: _Heads,
        dim_feedforward: _Width = 2048,
        dropout: _Share = 0.1,
        activation: _Activation = "relu",
        layer_norm_eps: _Epsilon = 1e-5,
        norm_first: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__(
            d_model,
            nhead,
            dim_feedforward=dim_feedforward,
            dropout=float(dropout),
            activation=activation,
            layer_norm_eps=layer_norm_eps,
            batch_first=True,
            norm_first=norm_first,
            bias=bias,
        )

    def forward(  # type: ignore[override]  # what torch says in its masks, the context says
        self, rows: Tensor, context: Context = NO_CONTEXT
    ) -> Tensor:
        """Self-attention over the tokens that count, then two linear layers for each."""
        return in_pieces(self, self.self_attn.num_heads, rows, context, self._encode)

    def _encode(self, rows: Tensor, hidden: Tensor | None) -> Tensor:
        return super().forward(rows, src_key_padding_mask=hidden)


class TransformerDecoderLayer(nn.TransformerDecoderLayer):
    """Torch's, with batch first and a memory of its own: trained vectors, the same for every row.

    Args:
        d_model: width of a token.
        nhead: in how many parts a token looks.
        memory_length: how many vectors the memory has.
        dim_feedforward: width between the two linear layers.
        dropout: share of numbers that training leaves out.
        activation: between the two linear layers.
        layer_norm_eps: added under the root.
        norm_first: normalise before each part instead of behind it.
        bias: whether linear layers and norms add a trained vector.

    Shape: rows (rows, length, d_model); returns the same.

    Attributes:
        memory: (memory_length, d_model), standard normal at first, like an Embedding.
    """

    def __init__(
        self,
        d_model: int,
        nhead: _Heads,
        memory_length: _Memory,
        dim_feedforward: _Width = 2048,
        dropout: _Share = 0.1,
        activation: _Activation = "relu",
        layer_norm_eps: _Epsilon = 1e-5,
        norm_first: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__(
            d_model,
            nhead,
            dim_feedforward=dim_feedforward,
            dropout=float(dropout),
            activation=activation,
            layer_norm_eps=layer_norm_eps,
            batch_first=True,
            norm_first=norm_first,
            bias=bias,
        )
        self.memory = nn.Parameter(nn.init.normal_(torch.empty(memory_length, d_model)))

    def forward(  # type: ignore[override]  # the memory is the layer's own
        self, rows: Tensor, context: Context = NO_CONTEXT
    ) -> Tensor:
        """Self-attention over the tokens that count, then attention over the memory."""
        return in_pieces(self, self.self_attn.num_heads, rows, context, self._decode)

    def _decode(self, rows: Tensor, hidden: Tensor | None) -> Tensor:
        memory = self.memory.expand(len(rows), -1, -1)
        return super().forward(rows, memory, tgt_key_padding_mask=hidden)


KINDS.register("MultiheadAttention")(
    Attending(
        MultiheadAttention,
        "embed_dim",
        "num_heads",
        "Self-attention without its weights; a row is (length, width).",
    )
)
KINDS.register("TransformerEncoderLayer")(
    Attending(
        TransformerEncoderLayer,
        "d_model",
        "nhead",
        "Self-attention, then two linear layers; a row is (length, width).",
    )
)
KINDS.register("TransformerDecoderLayer")(
    Attending(
        TransformerDecoderLayer,
        "d_model",
        "nhead",
        "The same with attention over `memory_length` trained vectors between the two.",
    )
)
