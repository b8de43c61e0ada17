"""PyTriton: the layer as a Python function behind Triton's C++ front end. Its own environment.

python serve.py WEIGHTS.npy PORT
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

_MAX_ROWS = 4096


def main(weights: str, port: int) -> None:
    """Serve until a signal."""
    torch.set_num_threads(1)
    matrix = torch.from_numpy(np.load(weights)).T.contiguous()

    @batch
    def reduce(hidden_states: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            return {"reduced": (torch.from_numpy(hidden_states) @ matrix).numpy()}

    width, n_components = matrix.shape
    config = TritonConfig(
        http_address="127.0.0.1", http_port=port, allow_grpc=False, allow_metrics=False
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="reducer",
            infer_func=reduce,
            inputs=[Tensor(name="hidden_states", dtype=np.float32, shape=(width,))],
            outputs=[Tensor(name="reduced", dtype=np.float32, shape=(n_components,))],
            config=ModelConfig(max_batch_size=_MAX_ROWS, batcher=DynamicBatcher()),
        )
        triton.serve()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
