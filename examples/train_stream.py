"""Train a running server without a pause, and watch what is durable.

    python examples/train_stream.py [URL] [FILE.npy] [MODEL]

Sends the rows of the file, 32 at a time, to `POST /train-stream` through the client: every batch is
applied exactly once, also when the connection breaks or the server restarts on the way.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.client import Client, Refused
from app.errors import SlimvecError

ROWS = 32
PASSES = 5
SAMPLE = Path(__file__).parent / "data" / "stream.npy"


def batches(path: Path) -> Iterator[NDArray[np.floating]]:
    """The rows of the file, a few times."""
    rows = np.load(path, mmap_mode="r")
    for _ in range(PASSES):
        for start in range(0, len(rows), ROWS):
            yield rows[start : start + ROWS]


def train(url: str, path: Path, model: str | None) -> None:
    """Stream the batches and print what the server says about them."""
    with Client(url, model) as client:
        before = client.describe().version
        for item in client.train_stream(batches(path), on_error="skip"):
            if isinstance(item, Refused):
                print(f"batch {item.record} refused: {item.error.detail}")
            else:
                print(f"batches up to {item.ack} are durable: loss {item.loss}")
        print(f"version {before} -> {client.describe().version}")


def main() -> None:
    """Train on the file's rows, or say in one sentence why not."""
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else SAMPLE
    model = sys.argv[3] if len(sys.argv) > 3 else None
    try:
        train(url, path, model)
    except SlimvecError as error:
        sys.exit(f"{error.code}: {error.detail}")


if __name__ == "__main__":
    main()
