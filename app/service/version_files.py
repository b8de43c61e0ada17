"""Checkpoint ↔ the files of a version folder."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from app.codecs import digest, pack, short_digest, unpack
from app.config import parse_config
from app.errors import ArtifactInvalid
from app.types import Checkpoint, Json, Origin, TrainerState, VersionFiles

_FORMAT = 1


def to_files(checkpoint: Checkpoint, origin: Origin, metrics: Json | None = None) -> VersionFiles:
    """The files of one version; the folder can be copied alone."""
    trainer = checkpoint.trainer
    state: Json = {
        "format": _FORMAT,
        "version": checkpoint.version,
        "step": trainer.step if trainer else 0,
        "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "origin": origin,
        "serving": "live",
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
    )


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
        trainer=_unpack_trainer(files.trainer) if files.trainer is not None else None,
    )


def state_digest(state: TrainerState) -> str:
    """SHA-256 over everything that learning needs: arrays, hyper-parameters, counters."""
    return digest(state.arrays, _scalars(state))


def _scalars(state: TrainerState) -> Json:
    return {**state.scalars, "version": state.version, "step": state.step}


def _pack_trainer(state: TrainerState) -> bytes:
    metadata = {key: orjson.dumps(value).decode() for key, value in _scalars(state).items()}
    return pack(state.arrays, metadata)


def _unpack_trainer(data: bytes) -> TrainerState:
    arrays, metadata = unpack(data)
    scalars = {key: _parse(value) for key, value in metadata.items()}
    version, step = scalars.pop("version", None), scalars.pop("step", None)
    if type(version) is not int or type(step) is not int:
        raise ArtifactInvalid("expected a version and a step in trainer.safetensors, both integers")
    return TrainerState(version=version, step=step, arrays=arrays, scalars=scalars)


def _parse(text: bytes | str) -> Any:  # any JSON value: the caller validates it
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ArtifactInvalid("expected JSON in the version's files") from error
