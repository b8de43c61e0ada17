"""Exchange: layers as other tools write them."""

from __future__ import annotations

from app.exchange.imported_layer import ImportedLayer, for_model, from_tensors
from app.exchange.state_dict import read_state_dict

__all__ = ["ImportedLayer", "for_model", "from_tensors", "read_state_dict"]
