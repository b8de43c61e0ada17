"""Engine: where and when things run. Arrays in and out; tensors and threads inside."""

from app.engine.admission import Admission, Ticket
from app.engine.device import ChosenDevice, choose_device
from app.engine.engine import Engine
from app.engine.examination import Examination
from app.engine.fitting import Accumulator, FitOutcome
from app.engine.jobs import Job, Line
from app.engine.live import LiveModel
from app.engine.replay import Past, Replay
from app.engine.snapshot import Snapshot
from app.engine.standing import Taken

__all__ = [
    "Accumulator",
    "Admission",
    "ChosenDevice",
    "Engine",
    "Examination",
    "FitOutcome",
    "Job",
    "Line",
    "LiveModel",
    "Past",
    "Replay",
    "Snapshot",
    "Taken",
    "Ticket",
    "choose_device",
]
