"""Config: what a model is and how it learns."""

from app.config.component import Component
from app.config.guards import CanaryConfig, GuardsConfig
from app.config.model import MAX_WIDTH, ModelConfig, parse_config, parse_loss
from app.config.optimizer import (
    MAX_LEARNING_RATE,
    ClippingConfig,
    OptimizerConfig,
    ParameterGroup,
)
from app.config.recipe import DistilConfig, GateConfig, ObserveConfig

__all__ = [
    "MAX_LEARNING_RATE",
    "MAX_WIDTH",
    "CanaryConfig",
    "ClippingConfig",
    "Component",
    "DistilConfig",
    "GateConfig",
    "GuardsConfig",
    "ModelConfig",
    "ObserveConfig",
    "OptimizerConfig",
    "ParameterGroup",
    "parse_config",
    "parse_loss",
]
