"""A stream and learning rates that close the gate and open it again, in a fraction of a second."""

from __future__ import annotations

import numpy as np

from app.config import parse_config
from app.types import Batch, TrainStep

WIDTH, COMPONENTS = 12, 3
# With the rate CALM the weights learn; WILD_STEPS with the rate WILD spoil what they learned.
CALM, WILD = 0.03, 3.0
CALM_STEPS, WILD_STEPS = 10, 2
# So many steps are enough to mend it.
MOST_STEPS = 60
DOCUMENT = {
    "input_size": WIDTH,
    "layers": [{"type": "QRReduction", "n_components": COMPONENTS}],
    "optimizer": {"type": "Adam", "lr": CALM},
    "recipe": "distil",
    "distil": {"warm_up": 640, "temperature": 0.1},
    "gate": {"every": 2, "rows": 64},
    "observed": {"reservoir": 128},
}
CONFIG = parse_config(DOCUMENT)


def stream_step(number: int) -> TrainStep:
    """Step `number` of the stream: vectors of which three directions matter most."""
    rows = np.random.default_rng(number).standard_normal((160, WIDTH)).astype(np.float32)
    rows[:, :COMPONENTS] *= 5
    return TrainStep(batch=Batch(hidden_states=rows))
