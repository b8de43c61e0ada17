"""MLServer with the layer as a custom runtime, in process: its fastest way. Its own environment.

python serve.py WEIGHTS.npy PORT
"""

from __future__ import annotations

import asyncio
import os
import sys

import numpy as np
import torch
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

_WEIGHTS = "PEER_WEIGHTS"


class Reducer(MLModel):
    """One product."""

    async def load(self) -> bool:
        """Take the weights."""
        torch.set_num_threads(1)
        self._matrix = torch.from_numpy(np.load(os.environ[_WEIGHTS])).T.contiguous()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Rows in, smaller rows out."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32, copy=False)
        with torch.inference_mode():
            reduced = torch.from_numpy(rows) @ self._matrix
        output = NumpyCodec.encode_output("reduced", reduced.numpy())
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main(port: int) -> None:
    """Serve until a signal."""
    settings = Settings(
        debug=False,
        parallel_workers=0,
        host="127.0.0.1",
        http_port=port,
        grpc_port=port + 1,
        metrics_endpoint=None,
        gzip_enabled=False,
    )
    server = MLServer(settings)
    await server.start([ModelSettings(name="reducer", implementation=Reducer)])


if __name__ == "__main__":
    os.environ[_WEIGHTS] = sys.argv[1]
    asyncio.run(main(int(sys.argv[2])))
