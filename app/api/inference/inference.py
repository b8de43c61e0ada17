"""What the routes of the protocol share."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.api.inference.statistics import Statistics
from app.codecs.inference import InferenceCodec


@dataclass(frozen=True, slots=True)
class Inference:
    """The codec and the counters of the protocol."""

    codec: InferenceCodec = field(default_factory=InferenceCodec)
    statistics: Statistics = field(default_factory=Statistics)
