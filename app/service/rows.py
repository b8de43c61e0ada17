"""Changes ↔ journal rows: the request as a safetensors file, the answer as the bytes sent."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import orjson

from app.codecs import pack, unpack
from app.config import Component
from app.errors import ArtifactInvalid
from app.types import (
    Batch,
    Change,
    ChangeAnswer,
    ChangeRequest,
    Configure,
    Fit,
    JournalRow,
    Json,
    Judge,
    Kind,
    NamedArrays,
    Replace,
    Rollback,
    SeenMoments,
    Serve,
    StepAnswer,
    TrainerState,
    TrainStep,
)


def to_row(change: Change, *, seq: int, clock_s: float) -> JournalRow:
    """The row of an accepted change."""
    arrays, options = _content(change.request)
    options["learning_rates"] = list(change.learning_rates)
    metadata = {name: orjson.dumps(value).decode() for name, value in options.items()}
    key = change.key
    return JournalRow(
        seq=seq,
        version=change.version,
        kind=change.request.kind,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        clock_s=clock_s,
        key_hash=key.hash if key else "",
        fingerprint=key.fingerprint if key else "",
        payload=pack(arrays, metadata),
        state_digest=change.state_digest,
        answer=encode_answer(change.answer),
    )


def from_row(row: JournalRow) -> ChangeRequest:
    """The request that a row holds, decoded as it was.

    Raises:
        ArtifactInvalid: `journal_invalid`.
    """
    try:
        arrays, metadata = unpack(row.payload)
        options = {name: orjson.loads(text) for name, text in metadata.items()}
        return _request(row.kind, arrays, options)
    except (ArtifactInvalid, KeyError, TypeError, ValueError) as error:
        raise ArtifactInvalid(
            f"the journal's row {row.seq} ({row.kind}, version {row.version}) cannot be understood",
            code="journal_invalid",
        ) from error


def encode_answer(answer: ChangeAnswer) -> bytes:
    """The body of an answer; what the journal stores and a retry gets again, byte for byte."""
    if isinstance(answer, StepAnswer) and answer.serving is None:
        return orjson.dumps(_without_serving(answer))
    return orjson.dumps(answer)


def _without_serving(answer: StepAnswer) -> Json:
    return {name: value for name, value in asdict(answer).items() if name != "serving"}


def decode_step_answer(body: bytes) -> StepAnswer:
    """The answer that a stored body says."""
    fields = orjson.loads(body)
    rate = fields["learning_rate"]
    fields["learning_rate"] = tuple(rate) if isinstance(rate, list) else rate
    return StepAnswer(**fields)


def _content(request: ChangeRequest) -> tuple[NamedArrays, Json]:
    match request:
        case TrainStep():
            return request.batch.arrays(), step_options(request)
        case Rollback(to=to, state=state):
            options = {"to": to, "version": state.version, "step": state.step}
            return state.arrays, {**options, "scalars": state.scalars}
        case Serve(version=version):
            return {}, {"serving": version}
        case Configure(learning_rates=rates):
            return {}, {"base_rates": list(rates) if isinstance(rates, tuple) else [rates]}
        case Replace(tensors=tensors):
            return tensors, {}
        case Judge():
            return {}, {}
        case Fit(method=method, moments=moments):
            counts = {"vectors": moments.vectors, "pairs": moments.num_pairs}
            return moments.arrays(), {"method": method.model_dump(mode="json"), "counts": counts}


def step_options(step: TrainStep) -> Json:
    """What a step asks for beside its arrays, as JSON; `branch` only where one is named."""
    options: Json = {"loss": step.loss.model_dump(mode="json") if step.loss else None}
    return options if step.branch is None else {**options, "branch": step.branch}


def _request(kind: Kind, arrays: NamedArrays, options: Json) -> ChangeRequest:
    match kind:
        case "step":
            loss = options["loss"]
            return TrainStep(
                batch=Batch(**arrays),
                loss=Component.model_validate(loss) if loss else None,
                branch=options.get("branch"),
            )
        case "rollback":
            state = TrainerState(
                version=options["version"],
                step=options["step"],
                arrays=arrays,
                scalars=options["scalars"],
            )
            return Rollback(to=options["to"], state=state)
        case "serving":
            return Serve(version=options["serving"])
        case "config":
            # Before there were schedules they were the rates that stand in every row.
            name = "base_rates" if "base_rates" in options else "learning_rates"
            first, *others = options[name]
            # One rate stands for that of all groups, however it was asked for.
            return Configure(learning_rates=(first, *others) if others else first)
        case "gate":
            return Judge()
        case "import":
            return Replace(tensors=arrays)
        case "fit":
            return Fit(
                method=Component.model_validate(options["method"]),
                moments=SeenMoments(
                    **arrays,
                    vectors=options["counts"]["vectors"],
                    num_pairs=options["counts"]["pairs"],
                ),
            )
