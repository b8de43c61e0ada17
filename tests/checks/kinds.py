"""The shared battery of the kinds of layers.

Every member of `KINDS` must pass it; `tests/unit/layers/test_kinds.py` runs it over them, and
`tests/e2e/test_kinds.py` takes each through a server. A new kind adds its line to `EXAMPLES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from app.config import ModelConfig, parse_config
from app.layers import KINDS, Context, Declared, Shape, build, folded, forward, plain, product
from app.layers.drawing import Drawing

# One row alone and the same row in a batch take other kernels, which sum in another order, and so
# does attention in serving and in training.
SUMMATION_ORDER = 2e-6
LENGTH = 4
NUM_IDS = 5
N_COMPONENTS = 2


@dataclass(frozen=True)
class Example:
    """The least that a kind must be told, and what its rows are like."""

    shape: Shape
    arguments: Mapping[str, Any] = field(default_factory=dict)
    has_ids: bool = False


def _tokens(**arguments: Any) -> Example:
    return Example((None, 4), arguments)


_VECTORS, _MAPS = Example((3,)), (2, 4, 4)
_WIDER = [{"type": "Linear", "out_features": 4}, {"type": "Tanh"}]

EXAMPLES: dict[str, Example] = {
    **dict.fromkeys(("ReLU", "GELU", "SiLU", "Sigmoid", "Tanh", "Softmax", "LeakyReLU"), _VECTORS),
    **dict.fromkeys(("BatchNorm1d", "LayerNorm", "RMSNorm"), _VECTORS),
    "BatchNorm2d": Example(_MAPS),
    "GroupNorm": Example((4, 2), {"num_groups": 2}),
    "Linear": Example((3,), {"out_features": 4}),
    "QRReduction": Example((3,), {"n_components": 2}),
    "Gaussian": Example((3,), {"n_components": 2}),
    "Dropout": Example((3,), {"p": 0.5}),
    "Dropout2d": Example(_MAPS, {"p": 0.5}),
    "Flatten": Example((2, 3)),
    "Unflatten": Example((6,), {"dim": 1, "unflattened_size": [2, 3]}),
    "Transpose": Example((2, 3), {"dim0": 1, "dim1": 2}),
    "Sequential": Example((3,), {"layers": _WIDER}),
    "Residual": Example((4,), {"layers": _WIDER}),
    "ModuleList": Example((3,), {"branches": [_WIDER, _WIDER]}),
    "ModuleDict": Example((3,), {"branches": {"first": _WIDER, "second": _WIDER}}),
    "Conv1d": Example((2, 5), {"out_channels": 3, "kernel_size": 2}),
    "Conv2d": Example(_MAPS, {"out_channels": 2, "kernel_size": [3, 2], "padding": [1, 0]}),
    "Conv3d": Example((2, 2, 3, 3), {"out_channels": 2, "kernel_size": 2}),
    "ConvTranspose2d": Example((2, 2, 2), {"out_channels": 2, "kernel_size": 2, "stride": 2}),
    "MaxPool2d": Example(_MAPS, {"kernel_size": 2}),
    "AvgPool2d": Example(_MAPS, {"kernel_size": [2, 1]}),
    "AdaptiveAvgPool2d": Example(_MAPS, {"output_size": [2, 3]}),
    "RNN": _tokens(hidden_size=3),
    "LSTM": _tokens(hidden_size=3, num_layers=2, dropout=0.3, bidirectional=True),
    "GRU": _tokens(hidden_size=3, bidirectional=True, output="last"),
    "MultiheadAttention": _tokens(num_heads=2, dropout=0.3),
    "TransformerEncoderLayer": _tokens(nhead=2, dim_feedforward=5),
    "TransformerDecoderLayer": _tokens(nhead=2, dim_feedforward=5, memory_length=3),
    "TokenPooling": _tokens(mode="mean"),
    "Embedding": Example((None,), {"num_embeddings": NUM_IDS, "embedding_dim": 3}, has_ids=True),
    "EmbeddingBag": Example((None,), {"num_embeddings": NUM_IDS, "embedding_dim": 3}, has_ids=True),
}


def declared(name: str) -> Declared:
    example = EXAMPLES[name]
    return KINDS[name].declare(example.arguments, example.shape, pointer="/layers/0")


def made(name: str, seed: int = 0) -> nn.Module:
    """The layer alone, with initial weights of this seed, in evaluation."""
    told = declared(name)
    with Drawing(torch.Generator().manual_seed(seed)):
        module = told.make()
        if told.begin is not None:
            told.begin(module)
    return module.eval()


def rows_of(name: str, count: int, *, seed: int = 7, length: int = LENGTH) -> Tensor:
    """Rows that the example's layer takes."""
    example, generator = EXAMPLES[name], torch.Generator().manual_seed(seed)
    shape = (count, *(length if size is None else size for size in example.shape))
    if example.has_ids:
        return torch.randint(NUM_IDS, shape, generator=generator).float()
    return torch.randn(shape, generator=generator)


def called(name: str, module: nn.Module, rows: Tensor, mask: Tensor | None = None) -> Tensor:
    """What a layer makes of rows, whether it looks at a context or not."""
    output: Tensor = (
        module(rows, Context(mask=mask)) if declared(name).takes_context else module(rows)
    )
    return output


def document(name: str) -> dict[str, Any]:
    """The config of a model that begins with the kind and ends with a reduction to vectors."""
    example = EXAMPLES[name]
    output = declared(name).output
    between: list[dict[str, Any]] = []
    if len(output) > 1:
        between = [{"type": "TokenPooling" if None in output else "Flatten"}]
    return {
        "input_size": example.shape[-1] or 1,
        "input_shape": list(example.shape),
        "layers": [
            {"type": name, **example.arguments},
            *between,
            {"type": "QRReduction", "n_components": N_COMPONENTS},
        ],
        "loss": "mse",
        "optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9},
        "recipe": "plain",
    }


def config(name: str) -> ModelConfig:
    return parse_config(document(name))


def check_output_is_declared(name: str) -> None:
    for length in (1, LENGTH, 2 * LENGTH):
        output = called(name, made(name), rows_of(name, 3, length=length))
        told = tuple(length if size is None else size for size in declared(name).output)
        assert output.shape == (3, *told)


def check_batch_equals_single(name: str) -> None:
    module, rows = made(name), rows_of(name, 9)
    single = torch.cat([called(name, module, row[None]) for row in rows])
    torch.testing.assert_close(called(name, module, rows), single, rtol=0, atol=SUMMATION_ORDER)


def check_input_not_modified(name: str) -> None:
    """Neither in training, forwards and backwards, nor in serving."""
    rows = rows_of(name, 5)
    given = rows.clone()
    output = forward(build(config(name)).train(), given, Context())
    output.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    product(config(name), folded(build(config(name))))(given)
    assert torch.equal(given, rows)


def check_deterministic_under_seed(name: str) -> None:
    torch.manual_seed(1)
    first = folded(made(name, seed=5))
    torch.manual_seed(2)
    second = folded(made(name, seed=5))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[tensor], second[tensor]) for tensor in first)


def check_seed_matters(name: str) -> None:
    first, second = folded(build(config(name))), folded(build(_seeded(config(name), 1)))
    assert not all(torch.equal(first[tensor], second[tensor]) for tensor in first)


def check_leaves_the_global_generator(name: str) -> None:
    before = torch.get_rng_state()
    build(config(name))
    assert torch.equal(torch.get_rng_state(), before)


def check_save_and_load(name: str) -> None:
    """A model that is given another's weights makes the same of rows, bit for bit."""
    rows = rows_of(name, 5)
    first, other = build(config(name)), build(_seeded(config(name), 1))
    other.load_state_dict(first.state_dict())
    expected = forward(first.eval(), rows, Context())
    assert torch.equal(forward(other.eval(), rows, Context()), expected)


def check_gradient_equals_finite_differences(name: str) -> None:
    """Along random directions of the input and of every weight at once, in float64."""
    module, rows = made(name).double(), rows_of(name, 2).double()
    weights = {tensor: value.detach().clone() for tensor, value in module.named_parameters()}
    varied = dict(weights) if declared(name).takes_ids else {"": rows, **weights}
    inputs = tuple(value.requires_grad_() for value in varied.values())

    def output(*values: Tensor) -> Tensor:
        given = dict(zip(varied, values, strict=True))
        return _output_with(name, module, given.pop("", rows), given)

    assert torch.autograd.gradcheck(output, inputs, fast_mode=True, check_undefined_grad=False)


def check_folded_equals_forward(name: str) -> None:
    """Serving with the folded tensors gives what the trained layers give, to rounding."""
    whole, rows = build(config(name)).eval(), rows_of(name, 5)
    serving = plain(config(name), folded(whole))
    assert not serving.training
    reduced = forward(serving, rows, Context())
    expected = forward(whole, rows, Context())
    torch.testing.assert_close(reduced, expected, rtol=0, atol=SUMMATION_ORDER)
    assert torch.equal(product(config(name), folded(whole))(rows), reduced)


def check_mask_hides_what_does_not_count(name: str) -> None:
    """A padded row gives what the same row gives without its padding, whatever that holds."""
    module, rows = made(name), rows_of(name, 3)
    mask = torch.arange(LENGTH) < torch.tensor([[LENGTH], [2], [1]])
    masked = called(name, module, rows, mask)
    others = torch.where(mask.reshape(*mask.shape, *[1] * (rows.ndim - 2)), rows, _other(rows))
    has_tokens = declared(name).output[:1] == (None,)
    for index, count in enumerate(mask.sum(dim=1).tolist()):
        alone = called(name, module, rows[index : index + 1, :count])[0]
        for padded in (masked, called(name, module, others, mask)):
            seen = padded[index, :count] if has_tokens else padded[index]
            torch.testing.assert_close(seen, alone, rtol=0, atol=SUMMATION_ORDER)


def _other(rows: Tensor) -> Tensor:
    """Other numbers that the same layer takes."""
    return (rows + 1) % NUM_IDS if torch.equal(rows, rows.round()) else 3 - rows


def _seeded(model: ModelConfig, seed: int) -> ModelConfig:
    return model.model_copy(update={"seed": seed})


def _output_with(
    name: str, module: nn.Module, rows: Tensor, weights: Mapping[str, Tensor]
) -> Tensor:
    context = (Context(),) if declared(name).takes_context else ()
    output: Tensor = functional_call(module, dict(weights), (rows, *context))
    return output
