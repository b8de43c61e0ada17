from __future__ import annotations

import pytest

from app.codecs import CODECS
from tests.checks.codecs import CHECKS


@pytest.mark.parametrize("media_type", CODECS)
@pytest.mark.parametrize("check", CHECKS)
def test_every_codec(check: str, media_type: str) -> None:
    CHECKS[check](CODECS[media_type])


def test_the_registry_holds_the_native_formats() -> None:
    native = {"application/json", "application/x-npy", "application/x-safetensors"}
    assert native <= set(CODECS)
