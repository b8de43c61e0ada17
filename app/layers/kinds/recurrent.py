"""Recurrent layers over rows of tokens; a mask ends each row where its tokens end.

Note [Which output is the last]
`"output": "last"` is the step of each direction that has seen the whole row: of the forward one at
the last token that counts, of the backward one at the first. Torch's first output has another step
of the backward direction at the last token: the one that has seen that token alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from app.errors import ConfigInvalid
from app.layers.arguments import BATCH_FIRST, SHARES, WIDTHS, check_arguments
from app.layers.kind import KINDS, NO_CONTEXT, Context, Declared, Shape
from app.layers.masks import lengths_of, tokens_that_count
from app.layers.widths import check_rank, last

_Output: TypeAlias = Literal["all", "last"]
_Nonlinearity: TypeAlias = Literal["tanh", "relu"]
_Width: TypeAlias = Annotated[int, WIDTHS]
_Depth: TypeAlias = Annotated[int, range(1, 65)]
_Share: TypeAlias = Annotated[float, SHARES]


# Torch has one way to compute it, and says so at every first use.
warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")


class _Steps(nn.RNNBase):
    """What the three have in common: batch first, the output that is asked for, the mask."""

    output: _Output

    def forward(self, rows: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """The first output of torch's layer; see Note [Which output is the last].

        Shape: rows (rows, length, input_size); returns (rows, length, width), zeros where a token
        does not count, or (rows, width).
        """
        if rows.is_cuda and not self.training:
            # Folded tensors lie apart, and cuDNN would put them together at every call, and warn.
            self.flatten_parameters()
        mask = tokens_that_count(rows, context)
        if mask is None:
            steps, _ = super().forward(rows)
            ends = torch.full((len(rows),), rows.shape[1] - 1, device=rows.device)
        else:
            lengths = lengths_of(mask)
            packed = pack_padded_sequence(
                rows, lengths.cpu(), batch_first=True, enforce_sorted=False
            )
            steps, _ = super().forward(packed)
            steps, _ = pad_packed_sequence(steps, batch_first=True, total_length=rows.shape[1])
            ends = lengths - 1
        return steps if self.output == "all" else self._last(steps, ends)

    def _last(self, steps: Tensor, ends: Tensor) -> Tensor:
        at_the_end = steps[torch.arange(len(steps), device=steps.device), ends]
        if not self.bidirectional:
            return at_the_end
        half = steps.shape[2] // 2
        return torch.cat([at_the_end[:, :half], steps[:, 0, half:]], dim=1)


class RNN(_Steps, nn.RNN):  # type: ignore[misc]  # of its outputs one
    """Torch's, with one output."""

    def __init__(
        self,
        input_size: int,
        hidden_size: _Width,
        num_layers: _Depth = 1,
        nonlinearity: _Nonlinearity = "tanh",
        bias: bool = True,
        dropout: _Share = 0.0,
        bidirectional: bool = False,
        output: _Output = "all",
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            nonlinearity=nonlinearity,
            bias=bias,
            batch_first=True,
            dropout=dropout,
            bidirectional=bidirectional,
        )
        self.output = output


class LSTM(_Steps, nn.LSTM):  # type: ignore[misc]  # of its outputs one
    """Torch's, with one output."""

    def __init__(
        self,
        input_size: int,
        hidden_size: _Width,
        num_layers: _Depth = 1,
        bias: bool = True,
        dropout: _Share = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        output: _Output = "all",
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=True,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
        )
        self.output = output


class GRU(_Steps, nn.GRU):  # type: ignore[misc]  # of its outputs one
    """Torch's, with one output."""

    def __init__(
        self,
        input_size: int,
        hidden_size: _Width,
        num_layers: _Depth = 1,
        bias: bool = True,
        dropout: _Share = 0.0,
        bidirectional: bool = False,
        output: _Output = "all",
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=True,
            dropout=dropout,
            bidirectional=bidirectional,
        )
        self.output = output


class Recurrent:
    """A recurrent layer of one kind.

    Args:
        layer: the class.
        doc: what it is, in one line.
    """

    def __init__(self, layer: type[RNN | LSTM | GRU], doc: str) -> None:
        self.__doc__ = doc
        self._layer = layer

    def declare(self, arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        name = self._layer.__name__
        check_rank(shape, (2,), name, pointer=pointer)
        width = last(shape, name, pointer=pointer)
        arguments = check_arguments(
            self._layer,
            arguments,
            pointer=pointer,
            derived={"input_size": width},
            hints=BATCH_FIRST,
        )
        arguments.pop("batch_first", None)  # it always is
        idle = _idle_dropout(arguments, name, pointer)
        if idle:
            del arguments["dropout"]  # or torch warns at every construction
        steps = _width(arguments, pointer)
        depth = arguments.get("num_layers", 1)
        return Declared(
            make=partial(self._layer, **arguments),
            output=(steps,) if arguments.get("output") == "last" else (shape[0], steps),
            takes_context=True,
            uses_mask=True,
            widest=(shape[0] or 1) * max(steps, 4 * arguments["hidden_size"]),
            multiply_adds=(shape[0] or 1) * depth * (width + steps) * arguments["hidden_size"] * 4,
            warnings=idle,
        )


def _idle_dropout(arguments: Mapping[str, Any], name: str, pointer: str) -> tuple[str, ...]:
    if not arguments.get("dropout") or arguments.get("num_layers", 1) > 1:
        return ()
    return (
        f"{pointer}/dropout: has no effect, because it acts between the layers of one {name}, and "
        "there is a single one; set num_layers",
    )


def _width(arguments: Mapping[str, Any], pointer: str) -> int:
    """How wide the output is."""
    hidden_size, proj_size = arguments["hidden_size"], arguments.get("proj_size", 0)
    if not 0 <= proj_size < hidden_size:
        raise ConfigInvalid(
            f"expected proj_size from 0 (none) to {hidden_size - 1}, less than hidden_size, got "
            f"{proj_size}",
            pointer=f"{pointer}/proj_size",
        )
    return int(proj_size or hidden_size) * (2 if arguments.get("bidirectional") else 1)


KINDS.register("RNN")(Recurrent(RNN, "Elman's recurrent layer; a row is (length, width)."))
KINDS.register("LSTM")(Recurrent(LSTM, "Long short-term memory; a row is (length, width)."))
KINDS.register("GRU")(Recurrent(GRU, "Gated recurrent units; a row is (length, width)."))
