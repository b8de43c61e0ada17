"""Stream training batches to a running server and watch loss and version.

    python examples/train_over_http.py [URL] [FILE.npy]

Sends the rows of the file, 32 at a time, to `POST /train-step` as safetensors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

ROWS = 32
PASSES = 5
SAMPLE = Path(__file__).parent / "data" / "stream.npy"


def train_step(url: str, rows: NDArray[np.float32]) -> dict[str, Any]:
    """Post one batch, shape (rows, input_size); returns the answer."""
    body = save({"hidden_states": rows})
    request = Request(f"{url}/train-step", body, {"Content-Type": "application/x-safetensors"})
    with urlopen(request) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def train(url: str, rows: NDArray[np.float32]) -> None:
    """Stream the rows a few times and print a line a pass."""
    for number in range(1, PASSES + 1):
        starts = range(0, len(rows), ROWS)
        answers = [train_step(url, rows[start : start + ROWS]) for start in starts]
        loss = float(np.mean([answer["loss"] for answer in answers]))
        last = answers[-1]
        print(f"pass {number}: loss {loss:.6f}, version {last['version']}, digest {last['digest']}")


def reason(url: str, error: URLError) -> str:
    """What went wrong, in one sentence; a refusal says itself what to do."""
    if not isinstance(error, HTTPError):
        return f"no server answers at {url} ({error.reason}); start one with: make serve"
    if error.headers.get_content_type() != "application/problem+json":
        return f"{url} answered {error.code} {error.reason}; is it a Slimvec server?"
    return f"refused with {error.code}: {json.load(error)['detail']}"


def main() -> None:
    """Train on the file's rows, or say in one sentence why not."""
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else SAMPLE
    try:
        train(url, np.load(path).astype(np.float32))
    except URLError as error:
        sys.exit(reason(url, error))


if __name__ == "__main__":
    main()
