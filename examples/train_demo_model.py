"""Train the demo model offline: the layer, plain PyTorch, pairs of embeddings.

    python examples/train_demo_model.py PATH_TO_DATA [--out models]
    python examples/train_demo_model.py PATH_TO_DATA --write-sample examples/data

PATH_TO_DATA holds `train_q.npy`, `train_d.npy` and the same for `val` and `test`: row i of `_q` is
a query, row i of `_d` its document. Trains on `train`, writes figures on `test` into the card.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from string import Template
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from app.codecs import digest, short_digest
from app.config import parse_config
from app.errors import Conflict
from app.layers import QRReduction
from app.service.version_files import to_files
from app.storage.lock import lock
from app.storage.repository import Repository
from app.training import Trainer
from app.training.losses import build_loss
from app.training.metrics import quality
from app.types import Batch, Checkpoint, TrainStep

NAME = "minilm-384-to-96"
INPUT_SIZE, N_COMPONENTS = 384, 96
# Chosen on the validation pairs; TASK_WEIGHT moves along the frontier between nn10 and MRR.
SEED, EPOCHS, BATCH_ROWS, BANK_ROWS = 0, 6, 256, 4096
LEARNING_RATE, TEMPERATURE, TASK_WEIGHT = 2e-3, 0.05, 1.5
ONLINE_STEPS, ONLINE_ROWS = 200, 32
CONFIG = parse_config(
    {
        "input_size": INPUT_SIZE,
        "layers": [{"type": "QRReduction", "n_components": N_COMPONENTS}],
        "loss": {"type": "similarity"},
        "optimizer": {"type": "Adam", "lr": 1e-4},
    }
)


class Pairs(NamedTuple):
    """Unit vectors; row i of documents is query i's own. Both (pairs, input_size)."""

    queries: Tensor
    documents: Tensor


def read_pairs(data: Path, split: str) -> Pairs:
    """One split of the data, in float32 and normalised again after the rounding to float16."""
    queries, documents = (
        F.normalize(torch.from_numpy(np.load(data / f"{split}_{side}.npy")).float(), dim=1)
        for side in "qd"
    )
    return Pairs(queries, documents)


def train(pairs: Pairs) -> QRReduction:
    """Start from PCA, then some epochs of Adam on `loss_of`; the same bits for the same pairs."""
    generator = torch.Generator().manual_seed(SEED)
    layer = QRReduction(N_COMPONENTS, INPUT_SIZE, init="pca", sample=torch.cat(pairs))
    optimizer = torch.optim.Adam(layer.parameters(), lr=LEARNING_RATE)
    steps = EPOCHS * (len(pairs.queries) // BATCH_ROWS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.05, cycle_momentum=False
    )
    for _ in range(EPOCHS):
        order = torch.randperm(len(pairs.queries), generator=generator)
        for start in range(0, len(order) - BATCH_ROWS + 1, BATCH_ROWS):
            batch = order[start : start + BATCH_ROWS]
            others = torch.cat([order[:start], order[start + BATCH_ROWS :]])
            bank = others[torch.randperm(len(others), generator=generator)[:BANK_ROWS]]
            optimizer.zero_grad()
            loss = loss_of(layer, pairs.queries[batch], pairs.documents[torch.cat([batch, bank])])
            loss.backward()
            optimizer.step()
            schedule.step()
    return layer


def loss_of(layer: QRReduction, queries: Tensor, documents: Tensor) -> Tensor:
    """Keep the neighbours, and bring each query to its own document.

    `L = KL(softmax(S/T) || softmax(s/T)) + w · CE(s'/T, own)`: S and s are cosines, full and
    reduced, of each query with documents of other queries; s' has the batch's own ones too. The
    own documents are left out of the first term: the softmax would see nothing else.

    Shape: queries (batch, input_size); documents (batch + bank, input_size), row i < batch being
    query i's own; returns a scalar.
    """
    batch = len(queries)
    reduced_queries = F.normalize(layer(queries), dim=1)
    reduced_documents = F.normalize(layer(documents), dim=1)
    logits = reduced_queries @ reduced_documents.T / TEMPERATURE
    wanted = (queries @ documents[batch:].T / TEMPERATURE).log_softmax(dim=1)
    found = logits[:, batch:].log_softmax(dim=1)
    fidelity = F.kl_div(found, wanted, reduction="batchmean", log_target=True)
    return fidelity + TASK_WEIGHT * F.cross_entropy(logits, torch.arange(batch))
