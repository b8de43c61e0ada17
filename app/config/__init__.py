"""Config: what a model is and how it learns."""

from app.config.arguments import Arguments, offered, parse_arguments, parse_method
from app.config.component import Component
from app.config.guards import CanaryConfig, GuardsConfig
from app.config.model import (
    MAX_OBSERVED,
    MAX_WIDTH,
    ModelConfig,
    can_follow_moments,
    parse_config,
    parse_loss,
)
from app.config.optimizer import (
    MAX_LEARNING_RATE,
    ClippingConfig,
    OptimizerConfig,
    ParameterGroup,
)
from app.config.recipe import DistilConfig, GateConfig, ObserveConfig

__all__ = [
    "MAX_LEARNING_RATE",
    "MAX_OBSERVED",
    "MAX_WIDTH",
    "Arguments",
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
    "can_follow_moments",
    "offered",
    "parse_arguments",
    "parse_config",
    "parse_loss",
    "parse_method",
]
