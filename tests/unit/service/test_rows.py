from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from app.config import parse_loss, parse_method
from app.errors import ArtifactInvalid
from app.service.rows import decode_step_answer, encode_answer, from_row, to_row
from app.types import (
    Batch,
    Change,
    ChangeRequest,
    Configure,
    ControlAnswer,
    Fit,
    JournalRow,
    Judge,
    Key,
    Replace,
    Rollback,
    SeenMoments,
    Serve,
    StepAnswer,
    TrainerState,
    TrainStep,
)

ROWS = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
WEIGHTS = np.ones(4, np.float32)
STEP_ANSWER = StepAnswer(
    model="m",
    version=2,
    step=1,
    update="gradient",
    loss=0.1,
    grad_norm=1e-9,
    learning_rate=(0.1, 0.2),
    rows=4,
    digest="d",
)
CONTROL_ANSWER = ControlAnswer(
    model="m", kind="serving", version=2, step=1, digest="d", serving=1, learning_rate=0.1
)
MOMENTS = SeenMoments(vectors=4, total=np.ones(3), second=2 * np.eye(3))
STATE = TrainerState(
    version=3,
    step=2,
    arrays={"layer.Q_reduced": ROWS, "optimizer.Q_reduced.step": np.array([2.0], np.float32)},
    scalars={"groups": [{"lr": 0.1}]},
)
REQUESTS: list[ChangeRequest] = [
    TrainStep(batch=Batch(hidden_states=ROWS)),
    TrainStep(
        batch=Batch(hidden_states=ROWS, targets=ROWS[:, :2], sample_weights=WEIGHTS),
        loss=parse_loss({"type": "mse"}),
    ),
    TrainStep(batch=Batch(hidden_states=ROWS.reshape(2, 2, 3))),
    TrainStep(batch=Batch(hidden_states=ROWS, mask=WEIGHTS), branch="news"),
    TrainStep(batch=Batch(hidden_states=ROWS[0])),
    Rollback(to=3, state=STATE),
    Serve(version=3),
    Serve(version="live"),
    Judge(),
    Configure(learning_rates=(0.1, 0.2)),
    Replace(tensors={"Q_reduced": ROWS}),
    Fit(method=parse_method("pca"), moments=MOMENTS),
    Fit(
        method=parse_method({"type": "pair_lda", "regularization": 2.0}),
        moments=replace(MOMENTS, num_pairs=2, pairs=np.eye(3)),
    ),
]


def row_of(request: ChangeRequest, key: Key | None = None) -> JournalRow:
    answer = STEP_ANSWER if request.kind == "step" else CONTROL_ANSWER
    change = Change(
        request=request,
        key=key,
        answer=answer,
        version=2,
        learning_rates=(0.1, 0.2),
        state_digest="s",
    )
    return to_row(change, seq=7, clock_s=1.5)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.kind)
def test_a_request_comes_back_from_its_row_as_it_was(request_: ChangeRequest) -> None:
    again = from_row(row_of(request_))
    assert type(again) is type(request_)
    np.testing.assert_equal(asdict(again), asdict(request_))


def test_a_row_says_what_changed_and_who_asked() -> None:
    row = row_of(REQUESTS[0], Key("hash", "print"))
    assert (row.seq, row.version, row.kind, row.clock_s) == (7, 2, "step", 1.5)
    assert (row.key_hash, row.fingerprint, row.state_digest) == ("hash", "print", "s")
    assert row.answer == encode_answer(STEP_ANSWER)


def test_a_stored_answer_is_the_answer() -> None:
    assert decode_step_answer(encode_answer(STEP_ANSWER)) == STEP_ANSWER
    assert encode_answer(decode_step_answer(encode_answer(STEP_ANSWER))) == encode_answer(
        STEP_ANSWER
    )


@pytest.mark.parametrize(
    "row",
    [
        replace(row_of(REQUESTS[0]), payload=b"nothing of ours"),
        replace(row_of(REQUESTS[0]), kind="rollback"),
        replace(row_of(REQUESTS[9]), kind="step"),
    ],
    ids=["payload", "fields missing", "fields of another kind"],
)
def test_a_row_that_cannot_be_understood_is_named(row: JournalRow) -> None:
    with pytest.raises(ArtifactInvalid, match="row 7"):
        from_row(row)
