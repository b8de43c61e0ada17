from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from app.config import parse_config
from app.engine import Engine, LiveModel, Past, choose_device
from app.errors import ArtifactInvalid
from app.settings import Settings
from app.training import Trainer
from app.types import Batch, Configure, Serve, TrainStep

CONFIG = parse_config({"input_size": 6, "layers": [{"type": "QRReduction", "n_components": 2}]})


@pytest.fixture
def live() -> Iterator[LiveModel]:
    engine = Engine(choose_device("cpu"), Settings())
    yield engine.prepare("m", engine.initial(CONFIG))
    engine.close(1)


def past(number: int = 3) -> list[Past]:
    """What a trainer did in so many steps."""
    trainer = Trainer(CONFIG)
    changes = []
    for seed in range(number):
        rows = np.random.default_rng(seed).standard_normal((5, 6)).astype(np.float32)
        step = TrainStep(batch=Batch(hidden_states=rows))
        trainer.train(step)
        digest = trainer.state_digest()
        changes.append(Past(request=step, version=trainer.version, state_digest=digest))
    return changes


def test_a_replay_ends_with_the_bits_of_the_first_time(live: LiveModel) -> None:
    changes = past()
    assert live.replay(changes, allow_divergent=False) is None
    assert live.prepared(lambda version: version)[1] == 4
    assert live.snapshot.stamp.version == 4
    assert not live.is_divergent


def test_a_change_that_gives_other_bits_is_named(live: LiveModel) -> None:
    first, second, third = past()
    wrong = replace(second, state_digest="0" * 64)
    assert live.replay([first, wrong, third], allow_divergent=False) is wrong


def test_other_bits_when_allowed_get_a_version_of_their_own(live: LiveModel) -> None:
    first, second, third = past()
    wrong = replace(second, state_digest="0" * 64)
    assert live.replay([first, wrong, third], allow_divergent=True) is wrong
    assert live.is_divergent
    assert live.snapshot.stamp.version == 5


def test_a_version_that_does_not_follow_is_refused(live: LiveModel) -> None:
    _, second, _ = past()
    with pytest.raises(ArtifactInvalid, match="made version 3 makes version 2 now"):
        live.replay([second], allow_divergent=False)


def test_a_change_that_cannot_be_made_again_is_refused(live: LiveModel) -> None:
    narrow = TrainStep(batch=Batch(hidden_states=np.ones((2, 5), np.float32)))
    impossible = Past(request=narrow, version=2, state_digest="")
    with pytest.raises(ArtifactInvalid, match="cannot be made again"):
        live.replay([impossible], allow_divergent=True)


def test_changes_without_a_new_version_are_repeated_too(live: LiveModel) -> None:
    trainer = Trainer(CONFIG)
    configure, serve = Configure(learning_rates=(0.5,)), Serve(version=1)
    trainer.apply(configure)
    digest = trainer.state_digest()
    changes = [
        Past(request=request, version=1, state_digest=digest) for request in (configure, serve)
    ]
    assert live.replay(changes, allow_divergent=False) is None
    assert live.serving == 1
