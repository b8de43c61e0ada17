"""Learners: the product's trainer over a stream, and the closed forms beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from app.config import ModelConfig, parse_config
from app.training import Trainer
from app.training.metrics import quality
from app.types import Batch, TrainStep
from benchmarks.quality.splits import Pairs

BATCH_ROWS = 64
Watch = Callable[[int, Tensor], None]


def config(width: int, k: int, **document: Any) -> ModelConfig:
    """A model as a newcomer has it, but for what is named."""
    reduction = {"type": "QRReduction", "n_components": k}
    layers = {"input_size": width, "layers": [reduction], "recipe": "distil"}
    return parse_config({**layers, **document})


def learn(model: ModelConfig, batches: Iterator[Batch], *, watch: Watch | None = None) -> Tensor:
    """Train on all batches; the weight at the end.

    Args:
        model: its seed decides the random start.
        batches: a stream; a pair counts as two vectors.
        watch: told the vectors so far and the weight after each step.

    Shape: returns (k, width).
    """
    trainer = Trainer(model)
    go_on(trainer, batches, watch=watch)
    return weight_of(trainer)


def go_on(trainer: Trainer, batches: Iterator[Batch], *, watch: Watch | None = None) -> None:
    """Train on; see `learn`."""
    seen = 0
    for batch in batches:
        trainer.train(TrainStep(batch=batch))
        seen += len(batch.hidden_states) * (1 if batch.positives is None else 2)
        if watch is not None:
            watch(seen, weight_of(trainer))


def weight_of(trainer: Trainer) -> Tensor:
    """The weight as it is now, in memory of its own."""
    return trainer.serving()["Q_reduced"].clone()


def vectors(pairs: Pairs, *, seed: int, rows: int = BATCH_ROWS, epochs: int = 1) -> Iterator[Batch]:
    """All vectors without their partners, in random order."""
    every = pairs.every
    for order in _orders(len(every), seed, epochs):
        for some in torch.split(order, rows):
            yield Batch(hidden_states=every[some].numpy())


def paired(pairs: Pairs, *, seed: int, rows: int = BATCH_ROWS, epochs: int = 1) -> Iterator[Batch]:
    """All pairs in random order, `rows` vectors a batch, so half as many pairs."""
    for order in _orders(len(pairs.queries), seed, epochs):
        for some in torch.split(order, rows // 2):
            yield Batch(
                hidden_states=pairs.queries[some].numpy(), positives=pairs.documents[some].numpy()
            )


def _orders(rows: int, seed: int, epochs: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        yield torch.randperm(rows, generator=generator)


def pca(rows: Tensor, k: int) -> Tensor:
    """Leading eigenvectors of the uncentred second moment of unit rows: the bar."""
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    leading: Tensor = torch.linalg.eigh(unit.mT @ unit).eigenvectors.mT.flip(0)[:k].float()
    return leading


def figures(
    weight: Tensor, held_out: Pairs, *, corpus_weight: Tensor | None = None
) -> dict[str, float]:
    """The metrics of a weight; with another one for the documents, those of the mix."""
    queries, documents = held_out.queries, held_out.documents
    other = weight if corpus_weight is None else corpus_weight
    return quality(queries, documents, queries @ weight.mT, documents @ other.mT)


def nn10(weight: Tensor, held_out: Pairs) -> float:
    """Fidelity alone."""
    return figures(weight, held_out)["nn10"]
