"""Train the demo model: the service's own trainer, the recipe `distil`, pairs of embeddings.

    python -m examples.train_demo_model PATH_TO_DATA [--out models]
    python -m examples.train_demo_model PATH_TO_DATA --write-sample examples/data

PATH_TO_DATA holds `train_q.npy`, `train_d.npy` and the same for `val` and `test`: row i of `_q` is
a query, row i of `_d` its document. Trains on `train`; the figures of the card are those that
`make quality` finds for the folder that was written.
"""

from __future__ import annotations

import argparse
import platform
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from string import Template

import numpy as np
import torch

from app.codecs import digest, short_digest
from app.config import parse_config
from app.service.version_files import to_files
from app.storage.lock import lock
from app.storage.repository import Repository
from app.training import Trainer
from app.training.metrics import sampled_queries
from app.training.recipes.distil import warm_up_of
from app.types import Checkpoint
from benchmarks.quality.checks.demo import ONLINE_ROWS, ONLINE_STEPS
from benchmarks.quality.learners import figures, go_on, paired, weight_of
from benchmarks.quality.pages import rewritten
from benchmarks.quality.results import nothing_yet, run
from benchmarks.quality.splits import Pairs, Splits, read_splits
from benchmarks.quality.target import Bench

NAME = "minilm-384-to-96"
INPUT_SIZE, N_COMPONENTS = 384, 96
# PAIR_WEIGHT moves along the frontier between nn10 and MRR.
SEED, EPOCHS, BATCH_PAIRS, PAIR_WEIGHT = 0, 6, 128, 0.3
# What a model remembers of its stream is part of the committed folder, so less of it is shipped
# than was trained with: 5 MB instead of 10.
TRAINED_RESERVOIR, RESERVOIR, HELD_OUT = 4096, 1024, 64
CARD = Path(__file__).with_name("demo_model_card.md")
CONFIG = parse_config(
    {
        "input_size": INPUT_SIZE,
        "layers": [{"type": "QRReduction", "n_components": N_COMPONENTS}],
        "recipe": "distil",
        "distil": {"pair_weight": PAIR_WEIGHT, "softening": 1.1},
        "observed": {"reservoir": RESERVOIR},
        "gate": {"rows": HELD_OUT},
        "seed": SEED,
    }
)


def train(pairs: Pairs) -> Trainer:
    """Some epochs of train steps from a random start; the same bits for the same pairs."""
    observed = CONFIG.observed.model_copy(update={"reservoir": TRAINED_RESERVOIR})
    trainer = Trainer(CONFIG.model_copy(update={"observed": observed}))
    # Normalised again after the rounding to float16.
    go_on(trainer, paired(pairs.unit(), seed=SEED, rows=2 * BATCH_PAIRS, epochs=EPOCHS))
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


def make(data: Path, out: Path) -> None:
    """Train, measure, and write `out/minilm-384-to-96/1` with its card."""
    repository = Repository(out)
    with lock(out):
        if 1 in repository.versions(NAME):
            raise SystemExit(f"{NAME}/1 exists there and is never changed; choose another --out")
        splits = read_splits(data)
        began = time.perf_counter()
        trainer = train(splits.train)
        seconds = time.perf_counter() - began
        found = figures(weight_of(trainer), splits.test)
        checkpoint = checkpoint_of(trainer)
        files = to_files(
            checkpoint, "initial", metrics={name: round(value, 4) for name, value in found.items()}
        )
        repository.write(NAME, 1, files)
        facts = {
            "digest": checkpoint.digest,
            "sha256": sha256(files.model).hexdigest(),
            "seconds": f"{seconds:.0f}",
        }
        text = Template(CARD.read_text()).substitute(facts | recipe_facts() | sizes(splits))
        folder = out / NAME / "1"
        (folder / "README.md").write_text(with_figures(text, splits, folder))


def with_figures(card: str, splits: Splits, folder: Path) -> str:
    """A card with the tables of `make quality` of a version folder."""
    found = run("demo", Bench(splits=splits, seeds=[SEED], model=folder))
    return rewritten(card, nothing_yet(splits).with_run("demo", found))


def sizes(splits: Splits) -> dict[str, str]:
    """How many pairs each split has, and how many of the test queries are asked."""
    named = {"train_pairs": splits.train, "val_pairs": splits.val, "test_pairs": splits.test}
    counts = {name: len(pairs.queries) for name, pairs in named.items()}
    counts["queries"] = len(sampled_queries(counts["test_pairs"]))
    return {name: f"{count:,}" for name, count in counts.items()}


def checkpoint_of(trainer: Trainer) -> Checkpoint:
    """The trained layer as version 1, with all that it needs to learn on."""
    serving = {"Q_reduced": weight_of(trainer).numpy()}
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
        "warm_up": f"{warm_up_of(CONFIG.distil, N_COMPONENTS):,}",
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
