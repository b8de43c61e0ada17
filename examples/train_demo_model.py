"""Train the demo model offline: the layer, plain PyTorch, pairs of embeddings.

    python examples/train_demo_model.py PATH_TO_DATA [--out models]
    python examples/train_demo_model.py PATH_TO_DATA --write-sample examples/data

PATH_TO_DATA holds `train_q.npy`, `train_d.npy` and the same for `val` and `test`: row i of `_q` is
a query, row i of `_d` its document. Trains on `train`, writes figures on `test` into the card.
"""

from __future__ import annotations

import argparse
import platform
import time
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from app.codecs import digest, short_digest
from app.config import parse_config
from app.layers import QRReduction
from app.service.version_files import to_files
from app.storage.lock import lock
from app.storage.repository import Repository
from app.training import Trainer
from app.training.metrics import quality, sampled_queries
from app.types import Batch, Checkpoint, TrainStep

NAME = "minilm-384-to-96"
INPUT_SIZE, N_COMPONENTS = 384, 96
# Chosen on the validation pairs; TASK_WEIGHT moves along the frontier between nn10 and MRR.
SEED, EPOCHS, BATCH_ROWS, BANK_ROWS = 0, 6, 256, 4096
LEARNING_RATE, TEMPERATURE, TASK_WEIGHT = 2e-3, 0.05, 1.5
ONLINE_STEPS, ONLINE_ROWS = 200, 32
CARD = Path(__file__).with_name("demo_model_card.md")
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
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
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


def compared(layer: QRReduction, train_pairs: Pairs, test: Pairs) -> dict[str, dict[str, float]]:
    """Metrics of the layer and of what it competes with, by name."""
    pca = QRReduction(N_COMPONENTS, INPUT_SIZE, init="pca", sample=torch.cat(train_pairs))
    identity = torch.eye(INPUT_SIZE)
    matrices = {
        f"truncation to {N_COMPONENTS}": identity[:N_COMPONENTS],
        f"PCA, uncentred, to {N_COMPONENTS}": pca.Q_reduced.detach(),
        "**this model**": layer.Q_reduced.detach(),
        f"full dimension ({INPUT_SIZE})": identity,
    }
    return {name: metrics_of(Q, test) for name, Q in matrices.items()}


def metrics_of(Q: Tensor, pairs: Pairs) -> dict[str, float]:
    """The metrics of one matrix, to four digits: what the card shows and state.json holds."""
    found = quality(*pairs, pairs.queries @ Q.T, pairs.documents @ Q.T)
    return {name: round(value, 4) for name, value in found.items()}


def online_quality(
    layer: QRReduction, pairs: Pairs, held_out: Pairs
) -> dict[str, dict[str, float]]:
    """Loss and metrics on held-out pairs before and after streamed steps as the service takes."""
    trainer = Trainer(CONFIG)
    trainer.assign({"Q_reduced": layer.Q_reduced.detach().numpy()})
    rows = torch.cat(pairs)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(SEED))
    found = {"before": _with_loss(trainer, held_out)}
    for chosen in torch.split(order, ONLINE_ROWS)[:ONLINE_STEPS]:
        trainer.train(TrainStep(batch=Batch(hidden_states=rows[chosen].numpy())))
    return found | {f"after {ONLINE_STEPS} steps": _with_loss(trainer, held_out)}


def _with_loss(trainer: Trainer, pairs: Pairs) -> dict[str, float]:
    Q = trainer.serving()["Q_reduced"]
    rows = torch.cat(pairs)
    reduced = F.normalize(rows @ Q.T, dim=1)
    loss = F.mse_loss(reduced @ reduced.T, rows @ rows.T).item()
    return {"similarity loss": loss} | metrics_of(Q, pairs)


def table(rows: dict[str, dict[str, float]]) -> str:
    """A Markdown table: one line a name, one column a metric."""
    columns = list(next(iter(rows.values())))
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [[name, *(f"{value:.4f}" for value in row.values())] for name, row in rows.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def make(data: Path, out: Path) -> None:
    """Train, measure, and write `out/minilm-384-to-96/1` with its card."""
    repository = Repository(out)
    with lock(out):
        if 1 in repository.versions(NAME):
            raise SystemExit(f"{NAME}/1 exists there and is never changed; choose another --out")
        train_pairs, val, test = (read_pairs(data, split) for split in ("train", "val", "test"))
        began = time.perf_counter()
        layer = train(train_pairs)
        seconds = time.perf_counter() - began
        rows = compared(layer, train_pairs, test)
        checkpoint = checkpoint_of(layer)
        files = to_files(checkpoint, "initial", metrics=rows["**this model**"])
        facts = {
            "digest": checkpoint.digest,
            "sha256": sha256(files.model).hexdigest(),
            "seconds": f"{seconds:.0f}",
            "quality": table(rows),
            "online": table(online_quality(layer, train_pairs, val)),
        }
        repository.write(NAME, 1, files)
        card = Template(CARD.read_text())
        text = card.substitute(facts | recipe_facts() | sizes(train_pairs, val, test))
        (out / NAME / "1" / "README.md").write_text(text)
    print(facts["quality"], facts["online"], sep="\n\n")


def sizes(train_pairs: Pairs, val: Pairs, test: Pairs) -> dict[str, str]:
    """How many pairs each split has, and how many of the test queries are asked."""
    named = {"train_pairs": train_pairs, "val_pairs": val, "test_pairs": test}
    counts = {name: len(pairs.queries) for name, pairs in named.items()}
    counts["queries"] = len(sampled_queries(counts["test_pairs"]))
    return {name: f"{count:,}" for name, count in counts.items()}


def checkpoint_of(layer: QRReduction) -> Checkpoint:
    """The trained layer as version 1, without a trainer: learning starts with a fresh optimizer."""
    serving = {"Q_reduced": layer.Q_reduced.detach().numpy()}
    stamp = short_digest(digest(serving))
    return Checkpoint(config=CONFIG, version=1, digest=stamp, serving=serving, trainer=None)


def recipe_facts() -> dict[str, object]:
    """What the card says about the recipe."""
    return {
        "name": NAME,
        "input_size": INPUT_SIZE,
        "n_components": N_COMPONENTS,
        "epochs": EPOCHS,
        "batch_rows": BATCH_ROWS,
        "bank_rows": BANK_ROWS,
        "learning_rate": LEARNING_RATE,
        "seed": SEED,
        "task_weight": TASK_WEIGHT,
        "temperature": TEMPERATURE,
        "online_rate": CONFIG.optimizer.arguments["lr"],
        "online_steps": ONLINE_STEPS,
        "online_rows": ONLINE_ROWS,
        "machine": platform.machine(),
        "torch": torch.__version__,
    }


def write_sample(data: Path, folder: Path) -> None:
    """Cut the sample of `examples/data`: the source's own float16 rows, unchanged."""
    held_out = [np.load(data / f"test_{side}.npy")[:500] for side in "qd"]
    pairs = [np.load(data / f"train_{side}.npy")[:144] for side in "qd"]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "held_out.npy", np.concatenate(held_out))
    np.save(folder / "stream.npy", np.stack(pairs, axis=1).reshape(288, INPUT_SIZE))


def main() -> None:
    """Read the command line and do one of the two."""
    parser = argparse.ArgumentParser(description="Train the demo model, or cut its sample.")
    parser.add_argument("data", type=Path, help="folder with the embeddings")
    parser.add_argument("--out", type=Path, default=Path("models"), help="model repository")
    parser.add_argument(
        "--write-sample", type=Path, metavar="FOLDER", help="cut the sample instead"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # bits depend on the number of threads
    if arguments.write_sample:
        write_sample(arguments.data, arguments.write_sample)
    else:
        make(arguments.data, arguments.out)


if __name__ == "__main__":
    main()
