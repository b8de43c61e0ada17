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
from app.types import Batch, Configure, Rollback, Serve, TrainStep

CONFIG = parse_config(
    {
        "input_size": 6,
        "layers": [{"type": "QRReduction", "n_components": 2}],
        "recipe": "plain",
    }
)


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


def digest_of(live: LiveModel) -> tuple[int, str]:
    live.publish()
    return live.snapshot.stamp.version, live.snapshot.stamp.digest


def test_a_replay_ends_with_the_bits_of_the_first_time(live: LiveModel) -> None:
    replay = live.replay()
    assert [replay.repeat(change) for change in past()] == [True] * 3
    assert digest_of(live)[0] == 4


def test_a_change_that_gives_other_bits_is_told_and_can_be_taken_back(live: LiveModel) -> None:
    first, second, _ = past()
    replay = live.replay()
    replay.repeat(first)
    good = digest_of(live)
    assert not replay.repeat(replace(second, state_digest="0" * 64))
    replay.undo()
    assert digest_of(live) == good
    assert replay.repeat(second)


def test_a_version_that_does_not_follow_is_refused_before_anything_changes(
    live: LiveModel,
) -> None:
    _, second, _ = past()
    before = digest_of(live)
    with pytest.raises(ArtifactInvalid, match="made version 3, and would make version 2 here"):
        live.replay().repeat(second)
    assert digest_of(live) == before


def test_a_change_that_cannot_be_made_again_is_refused(live: LiveModel) -> None:
    narrow = TrainStep(batch=Batch(hidden_states=np.ones((2, 5), np.float32)))
    with pytest.raises(ArtifactInvalid, match="cannot be made again"):
        live.replay().repeat(Past(request=narrow, version=2, state_digest=""))


def test_changes_without_a_new_version_are_repeated_too(live: LiveModel) -> None:
    trainer, replay = Trainer(CONFIG), live.replay()
    trainer.apply(Configure(learning_rates=(0.5,)))
    digest = trainer.state_digest()
    for request in (Configure(learning_rates=(0.5,)), Serve(version=1)):
        assert replay.repeat(Past(request=request, version=1, state_digest=digest))


def test_a_rebase_makes_the_present_bits_a_version_that_the_journal_leads_to(
    live: LiveModel,
) -> None:
    before = digest_of(live)
    (change,) = live.rebase()
    assert isinstance(change.request, Rollback)
    assert (live.snapshot.stamp.version, change.version) == (2, 2)
    assert live.snapshot.stamp.digest == before[1]
