"""Data for `make quality` out of texts: `python -m benchmarks.quality.embed MODEL TEXTS DATA`.

Needs sentence-transformers, which `.venv-interop` has (`make interop-test` makes it).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_AT_ONCE = 512


class Encoder(Protocol):
    """What of sentence-transformers is used: its outputs, a dictionary a text."""

    def encode(
        self, texts: Sequence[str], *, output_value: None, normalize_embeddings: bool
    ) -> list[dict[str, Tensor]]:
        """What the model says of each text, padded to the longest."""
        ...


@click.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False))
@click.argument("texts", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("data", type=click.Path(path_type=Path, file_okay=False))
@click.option("--train", default=10_000, show_default=True, help="pairs to learn from")
@click.option("--val", default=500, show_default=True, help="pairs to choose by")
@click.option("--test", default=4_000, show_default=True, help="pairs to report on")
@click.option("--tokens", default=64, show_default=True, help="of a text, the first so many")
@click.option("--states", default=0, show_default=True, help="token states of each document")
@click.option("--threads", default=1, show_default=True)
def main(
    model: str, texts: Path, data: Path, threads: int, tokens: int, states: int, **wanted: int
) -> None:
    """Embed TEXTS by the sentence-transformers model in the folder MODEL into the folder DATA.

    TEXTS has a line a pair: a query, a tab, its document, and if known a tab and a label. The first
    lines become the training part, the next the validation part, the next the test part.
    """
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    encoder = SentenceTransformer(model, device="cpu", local_files_only=True)
    encoder.max_seq_length = tokens
    data.mkdir(parents=True, exist_ok=True)
    for split, lines in _parts(texts, wanted).items():
        write(data, split, lines, encoder, states=states)
        click.echo(f"{split}: {len(lines)} pairs")


def _parts(texts: Path, wanted: dict[str, int]) -> dict[str, list[list[str]]]:
    """The columns of each split's lines."""
    lines = [line.split("\t") for line in texts.read_text(encoding="utf-8").splitlines()]
    if len(lines) < sum(wanted.values()) or min(map(len, lines)) < 2:
        raise click.UsageError(
            f"expected {sum(wanted.values())} lines of a query, a tab and its document in {texts}, "
            f"got {len(lines)}; ask for fewer pairs with --train, --val and --test"
        )
    rest = iter(lines)
    return {split: list(islice(rest, wanted[split])) for split in ("train", "val", "test")}


def write(data: Path, split: str, lines: list[list[str]], encoder: Encoder, *, states: int) -> None:
    """Write one split: queries, documents, states if wanted, labels if all lines have one.

    Args:
        data: a folder that is there.
        split: `train`, `val` or `test`, which begins the files' names.
        lines: of each pair the query, its document, and a label or not.
        encoder: makes the vectors.
        states: how many of each document's tokens; the validation part has none.
    """
    queries, _ = _embedded(encoder, [line[0] for line in lines], states=0)
    documents, tokens = _embedded(encoder, [line[1] for line in lines], states=states)
    np.save(data / f"{split}_q.npy", queries)
    np.save(data / f"{split}_d.npy", documents)
    if states and split != "val":
        np.save(data / f"{split}_states.npy", tokens)
    if all(len(line) > 2 for line in lines):
        labels = {"labels": [line[2] for line in lines]}
        (data / f"{split}_meta.json").write_text(json.dumps(labels), encoding="utf-8")


def _embedded(
    encoder: Encoder, texts: list[str], *, states: int
) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """Unit vectors of the texts, and states of their tokens as they leave the last layer."""
    vectors: list[NDArray[np.float16]] = []
    tokens: list[NDArray[np.float16]] = []
    for start in range(0, len(texts), _AT_ONCE):
        # Half the time; the products alone are rounded, not the sums.
        with torch.autocast("cpu", torch.bfloat16):
            found = encoder.encode(
                texts[start : start + _AT_ONCE], output_value=None, normalize_embeddings=True
            )
        vectors += [_half(one["sentence_embedding"]) for one in found]
        tokens += [_half(_some_tokens(one, states)) for one in found]
    return np.stack(vectors), np.concatenate(tokens)


def _some_tokens(one: dict[str, Tensor], count: int) -> Tensor:
    """States of tokens of a text, evenly spaced, without its end marks; (at most count, width)."""
    real = one["token_embeddings"][one["attention_mask"].bool()][1:-1]
    chosen = {len(real) * place // (count + 1) for place in range(1, count + 1)}
    return real[sorted(chosen)] if len(real) else real


def _half(values: Tensor) -> NDArray[np.float16]:
    rows: NDArray[np.float16] = values.float().numpy().astype(np.float16)
    return rows


if __name__ == "__main__":
    main()
