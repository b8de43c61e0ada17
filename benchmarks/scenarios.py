"""What is measured, as a table: add a row here, and it is verified, timed and reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.contenders import NAIVE, NAIVE_DEF, OURS
from benchmarks.work import JSON, SAFETENSORS

Verb = Literal["reduce", "train-step"]

SHORT_NAMES = {JSON: "JSON", SAFETENSORS: "safetensors"}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of request, sent over a number of connections at once.

    Attributes:
        verb: which route.
        rows: of the batch.
        connections: each sends its next request when it has the answer to the last.
        is_quick: also measured by `--quick`.
        media_types: of the bodies that Slimvec gets; the plain service always gets JSON.
    """

    verb: Verb
    rows: int
    connections: int
    is_quick: bool = False
    media_types: tuple[str, ...] = (JSON, SAFETENSORS)

    @property
    def name(self) -> str:
        """What `--only` matches, for example `reduce-32-c8`."""
        return f"{self.verb}-{self.rows}-c{self.connections}"

    @property
    def servers(self) -> frozenset[str]:
        """The servers that it needs."""
        return frozenset({OURS, NAIVE, NAIVE_DEF, "echo"})


SCENARIOS = (
    Scenario("reduce", 1, 1),
    Scenario("reduce", 1, 8),
    Scenario("reduce", 1, 64, is_quick=True),
    Scenario("reduce", 32, 1),
    Scenario("reduce", 32, 8, is_quick=True),
    Scenario("reduce", 32, 64),
    Scenario("reduce", 256, 1),
    Scenario("reduce", 256, 8),
    # As JSON they would be refused: more than the memory for bodies that the settings allow.
    Scenario("reduce", 256, 64, media_types=(SAFETENSORS,)),
    Scenario("train-step", 32, 1, is_quick=True),
    Scenario("train-step", 256, 1),
)
