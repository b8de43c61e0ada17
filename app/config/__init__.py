"""Config: what a model is and how it learns."""

from app.config.component import Component, read_component
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
from app.config.typed_arguments import Arguments, parse_arguments, parse_method

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
    "parse_arguments",
    "parse_config",
    "parse_loss",
    "parse_method",
    "read_component",
]
