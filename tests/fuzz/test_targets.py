"""The targets of the byte fuzzer on its committed corpus, whole, cut and spoilt."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from app.errors import SlimvecError
from tests.fuzz.targets import Target, targets

_CORPUS = Path(__file__).with_name("corpus")
_NUM_SPOILT = 200
_MOST_CUTS = 60


@pytest.mark.parametrize("name", targets())
def test_a_target_raises_nothing_but_errors_of_ours(name: str) -> None:
    target, random = targets()[name], Random(name)
    files = sorted((_CORPUS / name).iterdir())
    for file in files:
        whole = file.read_bytes()
        for end in range(0, len(whole), max(1, len(whole) // _MOST_CUTS)):
            _is_taken(target, whole[:end])
        for _ in range(_NUM_SPOILT):
            _is_taken(target, _spoilt(whole, random))
    assert any(_is_taken(target, file.read_bytes()) for file in files)


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {folder.name for folder in _CORPUS.iterdir()} == targets().keys()


def _spoilt(whole: bytes, random: Random) -> bytes:
    octets = bytearray(whole)
    for _ in range(random.randint(1, 4)):
        octets[random.randrange(len(octets))] = random.randrange(256)
    return bytes(octets)


def _is_taken(target: Target, octets: bytes) -> bool:
    try:
        target(octets)
    except SlimvecError:
        return False
    return True
