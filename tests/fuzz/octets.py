"""`python -m tests.fuzz.octets NAME SECONDS`: atheris looks for bytes that a target cannot take.

Only the declared errors may escape. New inputs that reach new code are kept in build/fuzz/<name>,
beside the committed ones in tests/fuzz/corpus/<name>; one that fails is left in build/fuzz, too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["app"]):
    from tests.fuzz.targets import Target, targets

from app.errors import SlimvecError

_CORPUS = Path(__file__).with_name("corpus")
_BUILD = Path(__file__).parents[2] / "build" / "fuzz"
_MAX_LENGTH = 4096
_MAX_MIB = 1024


def main(name: str, seconds: int) -> None:
    """Fuzz one target; libFuzzer prints the counts and ends the process itself."""
    found = _BUILD / name
    found.mkdir(parents=True, exist_ok=True)
    flags = [
        f"-max_total_time={seconds}",
        f"-max_len={_MAX_LENGTH}",
        f"-rss_limit_mb={_MAX_MIB * 4}",
        f"-artifact_prefix={_BUILD}/{name}-",
        "-timeout=10",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *flags, str(found), str(_CORPUS / name)], _guarded(targets()[name]))
    atheris.Fuzz()


def _guarded(target: Target) -> Target:
    def read(octets: bytes) -> None:
        try:
            target(octets)
        except SlimvecError:
            return  # the declared way to say no

    return read


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
