"""Train the demo model: the service's own trainer, the recipe `distil`, pairs of embeddings.

    python examples/train_demo_model.py PATH_TO_DATA [--out models]
    python examples/train_demo_model.py PATH_TO_DATA --write-sample examples/data

PATH_TO_DATA holds `train_q.npy`, `train_d.npy` and the same for `val` and `test`: row i of `_q` is
a query, row i of `_d` its document. Trains on `train`, writes figures on `test` into the card.
"""

from __future__ import annotations

import argparse
import platform
import time
from dataclasses import replace
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
from app.service.version_files import to_files
from app.storage.lock import lock
from app.storage.repository import Repository
from app.training import Trainer
from app.training.metrics import quality, sampled_queries
from app.types import Batch, Checkpoint, TrainStep

NAME = "minilm-384-to-96"
INPUT_SIZE, N_COMPONENTS = 384, 96
# PAIR_WEIGHT moves along the frontier between nn10 and MRR.
SEED, EPOCHS, BATCH_PAIRS, PAIR_WEIGHT = 0, 6, 128, 0.3
# What a model remembers of its stream is part of the committed folder, so less of it is shipped
# than was trained with: 5 MB instead of 10.
TRAINED_RESERVOIR, RESERVOIR, HELD_OUT = 4096, 1024, 64
ONLINE_STEPS, ONLINE_ROWS = 200, 32
CARD = Path(__file__).with_name("demo_model_card.md")
CONFIG = parse_config(
    {
        "input_size": INPUT_SIZE,
        "layers": [{"type": "QRReduction", "n_components": N_COMPONENTS}],
        "recipe": "distil",
        "distil": {"pair_weight": PAIR_WEIGHT},
        "observed": {"reservoir": RESERVOIR},
        "gate": {"rows": HELD_OUT},
        "seed": SEED,
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


def train(pairs: Pairs) -> Trainer:
    """Some epochs of train steps from a random start; the same bits for the same pairs."""
    observed = CONFIG.observed.model_copy(update={"reservoir": TRAINED_RESERVOIR})
    trainer = Trainer(CONFIG.model_copy(update={"observed": observed}))
    generator = torch.Generator().manual_seed(SEED)
    for _ in range(EPOCHS):
        order = torch.randperm(len(pairs.queries), generator=generator)
        for some in torch.split(order, BATCH_PAIRS):
            batch = Batch(
                hidden_states=pairs.queries[some].numpy(), positives=pairs.documents[some].numpy()
            )
            trainer.train(TrainStep(batch=batch))
    return shipped(trainer)


def shipped(trained: Trainer) -> Trainer:
    """Version 1 of a model that goes on from there, with less memory.

    The first vectors of a reservoir are as fair a sample as all of them. The gate forgets what it
    judged: versions that nobody has.
    """
    for memory in trained.memories:
        if memory.part == "gate":
            memory.forget()
    state = trained.state()
    reservoir = state.arrays["observed.reservoir"][:RESERVOIR]
    arrays = {**state.arrays, "observed.reservoir": reservoir}
    trainer = Trainer(CONFIG)
    trainer.restore(replace(state, version=1, arrays=arrays))
    return trainer


def compared(trained: Tensor, train_pairs: Pairs, test: Pairs) -> dict[str, dict[str, float]]:
    """Metrics of the layer and of what it competes with, by name."""
    rows = torch.cat(train_pairs).double()
    leading = torch.linalg.eigh(rows.mT @ rows).eigenvectors.mT.flip(0)[:N_COMPONENTS]
    identity = torch.eye(INPUT_SIZE)
    matrices = {
        f"truncation to {N_COMPONENTS}": identity[:N_COMPONENTS],
        f"PCA, uncentred, to {N_COMPONENTS}": leading.float(),
        "**this model**": trained,
        f"full dimension ({INPUT_SIZE})": identity,
    }
    return {name: metrics_of(Q, test) for name, Q in matrices.items()}


def metrics_of(Q: Tensor, pairs: Pairs) -> dict[str, float]:
    """The metrics of one matrix, to four digits: what the card shows and state.json holds."""
    found = quality(*pairs, pairs.queries @ Q.T, pairs.documents @ Q.T)
    return {name: round(value, 4) for name, value in found.items()}


def online_quality(
    checkpoint: Checkpoint, pairs: Pairs, held_out: Pairs
) -> dict[str, dict[str, float]]:
    """Metrics on held-out pairs before and after streamed steps, without pairs, as they go on."""
    assert checkpoint.trainer is not None, "a trained checkpoint has a state"
    trainer = Trainer(CONFIG)
    trainer.restore(checkpoint.trainer)
    rows = torch.cat(pairs)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(SEED))
    found = {"before": metrics_of(trainer.serving()["Q_reduced"], held_out)}
    for chosen in torch.split(order, ONLINE_ROWS)[:ONLINE_STEPS]:
        trainer.train(TrainStep(batch=Batch(hidden_states=rows[chosen].numpy())))
    after = metrics_of(trainer.serving()["Q_reduced"], held_out)
    return found | {f"after {ONLINE_STEPS} steps": after}


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
        checkpoint = checkpoint_of(train(train_pairs))
        seconds = time.perf_counter() - began
        rows = compared(torch.tensor(checkpoint.serving["Q_reduced"]), train_pairs, test)
        files = to_files(checkpoint, "initial", metrics=rows["**this model**"])
        facts = {
            "digest": checkpoint.digest,
            "sha256": sha256(files.model).hexdigest(),
            "seconds": f"{seconds:.0f}",
            "quality": table(rows),
            "online": table(online_quality(checkpoint, train_pairs, val)),
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


def checkpoint_of(trainer: Trainer) -> Checkpoint:
    """The trained layer as version 1, with all that it needs to learn on."""
    serving = {"Q_reduced": trainer.serving()["Q_reduced"].numpy()}
    stamp = short_digest(digest(serving))
    state = trainer.state()
    return Checkpoint(config=CONFIG, version=1, digest=stamp, serving=serving, trainer=state)


def recipe_facts() -> dict[str, object]:
    """What the card says about the recipe."""
    return {
        "name": NAME,
        "input_size": INPUT_SIZE,
        "n_components": N_COMPONENTS,
        "epochs": EPOCHS,
        "batch_pairs": BATCH_PAIRS,
        "trained_reservoir": f"{TRAINED_RESERVOIR:,}",
        "reservoir": f"{RESERVOIR:,}",
        "rehearsed": CONFIG.distil.rehearsed,
        "temperature": CONFIG.distil.temperature,
        "softening": CONFIG.distil.softening,
        "pair_weight": PAIR_WEIGHT,
        "learning_rate": CONFIG.optimizer.arguments["lr"],
        "warm_up": max(2048, 64 * N_COMPONENTS),
        "seed": SEED,
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
