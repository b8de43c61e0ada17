"""Engine: where and when things run. Arrays in and out; tensors and threads inside."""

from app.engine.admission import Admission, Ticket
from app.engine.device import ChosenDevice, choose_device
from app.engine.engine import Engine
from app.engine.jobs import Job, Line
from app.engine.live import LiveModel
from app.engine.replay import Past, Replay

__all__ = [
    "Admission",
    "ChosenDevice",
    "Engine",
    "Job",
    "Line",
    "LiveModel",
    "Past",
    "Replay",
    "Ticket",
    "choose_device",
]
