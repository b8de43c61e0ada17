"""The comparison with other servers asks each of them for the same product. No timing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.contenders import OURS, ContenderFailed, running
from benchmarks.peers.environments import python_of
from benchmarks.peers.table import DIALECTS, MEETINGS, PEERS, Meeting
from benchmarks.work import weights

_SCRIPTS = Path(python_of.__code__.co_filename).parent


def test_every_dialect_of_slimvec_is_answered_with_the_product(tmp_path: Path) -> None:
    with running(tmp_path, {OURS}) as servers:
        for body in DIALECTS:
            rows, dialect = Meeting(body, 3, 1).hidden_states, DIALECTS[body][OURS]
            reduced = dialect.read(servers[OURS].send(dialect.call(rows)), 3)
            np.testing.assert_allclose(reduced, rows @ weights().T, atol=1e-5)


def test_every_meeting_has_slimvec_and_a_peer() -> None:
    for meeting in MEETINGS:
        assert OURS in DIALECTS[meeting.body]
        assert len(DIALECTS[meeting.body]) > 1


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_has_a_script_and_pinned_packages(peer: str) -> None:
    compile((_SCRIPTS / peer / "serve.py").read_text(), peer, "exec")
    pins = (_SCRIPTS / peer / "requirements.txt").read_text().split()
    assert all("==" in pin for pin in pins)


def test_a_peer_that_is_not_there_is_named() -> None:
    with pytest.raises((ContenderFailed, FileNotFoundError)):
        python_of("absent")
