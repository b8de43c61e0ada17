"""The body of a load: a config and weights, as parameters of JSON."""

from __future__ import annotations

import re
from binascii import a2b_base64
from dataclasses import dataclass
from typing import Any

import simdjson

from app.codecs.codec import Buffer
from app.codecs.inference_document import members, parameters_of, typed
from app.codecs.parsers import Parsers
from app.codecs.strict_json import not_an_object
from app.codecs.tensors import REQUEST_LIMITS, unpack
from app.errors import Unacceptable
from app.types import Json, NamedArrays

_PREFIX = "file:"
_WEIGHTS = re.compile(r"file:[0-9]{1,18}/model\.safetensors")


@dataclass(frozen=True, slots=True)
class SentFiles:
    """What came along: the text of a config, and the tensors of a weights file."""

    config: bytes | None
    tensors: NamedArrays | None


def read_files(body: Buffer) -> SentFiles:
    """The files in the parameters of a load; parameters that name none mean nothing here.

    Raises:
        Malformed: not strict JSON.
        Unacceptable: `missing_field`, `wrong_type`, `unknown_file`, `invalid_base64`.
        ArtifactInvalid: the weights cannot be read.
    """
    parameters = Parsers().read(body, _parameters)
    files = {name: text for name, text in parameters.items() if name.startswith(_PREFIX)}
    config = parameters.get("config")
    if config is not None:
        config = typed(config, str, "/parameters/config").encode()
    if files and config is None:
        raise Unacceptable(
            "missing_field",
            "expected the parameter config beside files: the text of a config.json",
            pointer="/parameters/config",
        )
    return SentFiles(config, _weights(files) if files else None)


def _parameters(root: Any) -> Json:
    if type(root) is not simdjson.Object:
        raise not_an_object()
    members(root)
    return parameters_of(root)


def _weights(files: Json) -> NamedArrays:
    (name, text), *others = files.items()
    if others or not _WEIGHTS.fullmatch(name):
        raise Unacceptable(
            "unknown_file",
            "expected one file beside the config: file:<version>/model.safetensors",
            pointer="/parameters",
        )
    try:
        content = a2b_base64(typed(text, str, "/parameters"), strict_mode=True)
    except ValueError:
        raise Unacceptable(
            "invalid_base64",
            "expected the file in base64 of the standard alphabet with padding (RFC 4648)",
            pointer="/parameters",
        ) from None
    return unpack(content, limits=REQUEST_LIMITS)[0]
