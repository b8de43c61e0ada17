"""Which alignments are begun at all."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.config import parse_config
from app.errors import QueueFull, Unacceptable
from app.service import Service
from app.types import Alignment, Serving
from tests.checks.gate import DOCUMENT, WIDTH, stream_step
from tests.unit.service.examples import live_once

WIDER = {**DOCUMENT, "layers": [{"type": "QRReduction", "n_components": 5}]}
OF_OTHERS = {**DOCUMENT, "input_size": WIDTH + 1}


def test_one_more_than_may_be_in_flight_is_refused(tmp_path: Path) -> None:
    async def overload(service: Service) -> str:
        await service.create("m", parse_config(DOCUMENT))
        await service.train_step("m", stream_step(0))
        with ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(service.admission.admit())
            with pytest.raises(QueueFull) as refused:
                await service.alignments.align("m", 1, 2)
        assert (await service.alignments.align("m", 1, 2)).vectors == 128
        return refused.value.code

    assert live_once(tmp_path, overload, max_concurrent_requests=2) == "overloaded"


def test_who_ask_the_same_at_once_share_one_look(tmp_path: Path) -> None:
    async def ask_together(service: Service) -> list[Alignment]:
        await service.create("m", parse_config(DOCUMENT))
        await service.train_step("m", stream_step(0))
        pairs: list[tuple[int, Serving]] = [(1, 2), (1, "live"), (2, 1)]
        asked = [service.alignments.align("m", version, to) for version, to in pairs]
        return await asyncio.gather(*asked)

    first, same, other = live_once(tmp_path, ask_together)
    assert first is same
    assert (other.stamp.version, other.to.version) == (2, 1)


@pytest.mark.parametrize("document", [WIDER, OF_OTHERS], ids=["wider", "of wider vectors"])
def test_a_folder_of_another_shape_is_no_space_of_the_model(
    tmp_path: Path, document: dict[str, object]
) -> None:
    async def put_in(service: Service) -> None:
        await service.create("m", parse_config(DOCUMENT))
        await service.create("other", parse_config(document))
        await service.train_step("m", stream_step(0))
        shutil.copytree(tmp_path / "other" / "1", tmp_path / "m" / "77")
        with pytest.raises(Unacceptable) as refused:
            await service.alignments.align("m", 1, 77)
        assert refused.value.code == "shape_mismatch"

    live_once(tmp_path, put_in)
