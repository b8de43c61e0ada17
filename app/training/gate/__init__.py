"""The gate: `live` follows the newest version only while that is no worse on held-out vectors."""

from app.training.gate.gate import Gate
from app.training.gate.state import GateState, Judgement, Weights

__all__ = ["Gate", "GateState", "Judgement", "Weights"]
