"""Checkpoint ↔ the files of a version folder."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from app.codecs import digest, pack, short_digest, state_digest, unpack
from app.config import parse_config
from app.errors import ArtifactInvalid
from app.service.history import Moment
from app.types import Checkpoint, Json, Origin, Position, TrainerState, VersionFiles

_FORMAT = 1


_BEGINNING = Moment(position=Position(0, 0), clock_s=0.0, serving="live", keys=[])


def to_files(
    checkpoint: Checkpoint, origin: Origin, moment: Moment = _BEGINNING, metrics: Json | None = None
) -> VersionFiles:
    """The files of one version; the folder can be copied alone."""
    trainer = checkpoint.trainer
    state: Json = {
        "format": _FORMAT,
        "version": checkpoint.version,
        "step": trainer.step if trainer else 0,
        "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "origin": origin,
        "serving": moment.serving,
        "journal": {"seq": moment.position.seq, "chain": moment.position.chain},
        "clock_s": moment.clock_s,
        "digest": checkpoint.digest,
        "metrics": metrics or {},
    }
    if trainer is not None:
        state["state_digest"] = state_digest(trainer)
    return VersionFiles(
        config=orjson.dumps(checkpoint.config.model_dump(mode="json"), option=orjson.OPT_INDENT_2),
        model=pack(checkpoint.serving, {"format": "pt"}),
        trainer=_pack_trainer(trainer) if trainer else None,
        state=state,
        keys=b"".join(moment.keys) or None,
    )


def moment_of(state: Json) -> Moment:
    """What a version's `state.json` says of its moment, without the keys.

    Folders that were made by hand, or before there was a journal, stand at its beginning.

    Raises:
        ArtifactInvalid: its entries are not what they should be.
    """
    journal, serving = state.get("journal", {"seq": 0, "chain": 0}), state.get("serving", "live")
    try:
        position = Position(int(journal["seq"]), int(journal["chain"]))
        clock_s = float(state.get("clock_s", 0.0))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactInvalid("expected journal and clock_s in state.json") from error
    if serving != "live" and type(serving) is not int:
        raise ArtifactInvalid('expected serving in state.json to be a version or "live"')
    return Moment(position=position, clock_s=clock_s, serving=serving, keys=[])


def from_files(version: int, files: VersionFiles) -> Checkpoint:
    """The checkpoint that a version folder holds.

    Raises:
        ArtifactInvalid, ConfigInvalid: the files are not what they should be.
    """
    serving, _ = unpack(files.model)
    if not all(np.isfinite(array).all() for array in serving.values()):
        raise ArtifactInvalid("expected finite weights in model.safetensors, found NaN or infinity")
    found = short_digest(digest(serving))
    expected = files.state.get("digest", found)
    if found != expected:
        raise ArtifactInvalid(
            f"expected weights with digest {expected}, found {found}: the file was changed"
        )
    return Checkpoint(
        config=parse_config(_parse(files.config)),
        version=version,
        digest=found,
        serving=serving,
        trainer=_unpack_trainer(files.trainer, version) if files.trainer is not None else None,
    )


def _scalars(state: TrainerState) -> Json:
    return {**state.scalars, "version": state.version, "step": state.step}


def _pack_trainer(state: TrainerState) -> bytes:
    metadata = {key: orjson.dumps(value).decode() for key, value in _scalars(state).items()}
    return pack(state.arrays, metadata)


def _unpack_trainer(data: bytes, folder: int) -> TrainerState:
    """The trainer of the version whose folder it lies in, also where that was copied to."""
    arrays, metadata = unpack(data)
    scalars = {key: _parse(value) for key, value in metadata.items()}
    version, step = scalars.pop("version", None), scalars.pop("step", None)
    if type(version) is not int or type(step) is not int:
        raise ArtifactInvalid("expected a version and a step in trainer.safetensors, both integers")
    return TrainerState(version=folder, step=step, arrays=arrays, scalars=scalars)


def _parse(text: bytes | str) -> Any:  # any JSON value: the caller validates it
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ArtifactInvalid("expected JSON in the version's files") from error
