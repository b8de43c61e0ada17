"""Model names: the one check before a name becomes part of a path."""

from __future__ import annotations

import re

from app.errors import Unacceptable

# Whole names only; written so that other languages' regular expressions understand it, too.
MODEL_NAME = r"(?!.*\.\.)[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?"
_NAME = re.compile(MODEL_NAME)


def check_model_name(name: str) -> str:
    """The name itself, when it is one.

    `fullmatch`, not `match` with `$`: the latter accepts a trailing newline.

    Raises:
        Unacceptable: `model_name_invalid`.
    """
    if not _NAME.fullmatch(name):
        raise Unacceptable(
            "model_name_invalid",
            "expected a model name of 1 to 64 characters from a-z, 0-9, '.', '_' and '-', "
            "beginning and ending with a letter or digit, without '..'",
        )
    return name
