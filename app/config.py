"""Config: what a model is and how it learns. Torch-free; names are checked where they are built."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from app.errors import ConfigInvalid
from app.faults import OURS, first_fault

MAX_WIDTH = 65_536
MAX_LEARNING_RATE = 100.0


def _named(value: object) -> object:
    """`"mse"` is short for `{"type": "mse"}`."""
    return {"type": value} if isinstance(value, str) else value


class Component(BaseModel):
    """One registered thing by its name, with its own arguments beside it.

    `{"type": "QRReduction", "n_components": 96}`: every key but `type` is an argument.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    type: str = Field(description="registered name", min_length=1, max_length=64)

    @property
    def arguments(self) -> dict[str, Any]:
        """Every key beside the declared fields: what the named thing is called with."""
        return dict(self.model_extra or {})


class ParameterGroup(BaseModel):
    """Hyper-parameters for the parameters whose name matches a regular expression."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    match: str = Field(description="regular expression searched in the parameter's name")

    @property
    def arguments(self) -> dict[str, Any]:
        """The group's own hyper-parameters; what it does not name comes from the optimizer."""
        return dict(self.model_extra or {})


class OptimizerConfig(Component):
    """An optimizer by its torch name, with its arguments and parameter groups."""

    groups: tuple[ParameterGroup, ...] = Field(
        default=(),
        strict=False,
        description="first match wins; parameters that match none use the optimizer's arguments",
    )


def _off_or_above_one(factor: float) -> float:
    """A factor of at most 1 would refuse a step that is like all the others."""
    if 0 < factor <= 1:
        raise PydanticCustomError(f"{OURS}out_of_range", "expected 0 (off) or more than 1")
    return factor


Factor = Annotated[float, Field(ge=0, le=1e9), AfterValidator(_off_or_above_one)]


class CanaryConfig(BaseModel):
    """Rows of the first steps that are watched for ever: their loss may not get worse."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rows: int = Field(default=64, ge=0, le=1024, description="how many are watched; 0: none")
    every: int = Field(
        default=8, ge=1, le=10_000, description="accepted steps from one look at them to the next"
    )
    tolerance: float = Field(
        default=1.0,
        ge=0,
        le=1e6,
        description="refused above the best loss plus this many times the first one",
    )


class GuardsConfig(BaseModel):
    """When a step is refused that could be computed; what is not finite always is.

    Part of the config and not of the settings: a replay must decide as the first time. The
    defaults let every honest run pass that was measured; docs/models.md has the numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    warm_up: int = Field(
        default=20,
        ge=1,
        le=1_000_000,
        description="accepted steps from which the guards learn what is ordinary",
    )
    loss_spike: Factor = Field(
        default=1000.0,
        description="a loss is refused above this many times its running mean; 0: off",
    )
    grad_norm: Factor = Field(
        default=1000.0, description="the same for the norm of all gradients; 0: off"
    )
    canary: CanaryConfig = Field(
        default=CanaryConfig(), description="rows whose loss may not get worse"
    )


class ModelConfig(BaseModel):
    """What a model is and how it learns; the whole of `config.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    input_size: int = Field(ge=1, le=MAX_WIDTH, description="width of hidden_states")
    layers: tuple[Component, ...] = Field(
        min_length=1, strict=False, description="the stack, first to last, by class name"
    )
    loss: Annotated[Component, BeforeValidator(_named)] = Field(
        default=Component(type="similarity"), description="used by a train step that names none"
    )
    optimizer: OptimizerConfig = Field(
        default=OptimizerConfig.model_validate({"type": "Adam", "lr": 1e-3}),
        description="by its torch name, with its own arguments",
    )
    recipe: Literal["plain"] = Field(
        default="plain", description="plain: exactly the declared loss and optimizer"
    )
    guards: GuardsConfig = Field(
        default=GuardsConfig(), description="which steps are refused beside non-finite ones"
    )
    nested: bool = Field(
        default=False,
        description="components are ordered, so that the first ones alone are a reduction too",
    )
    frozen: bool = Field(default=False, description="served and never trained")
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the initial weights")

    @property
    def n_components(self) -> int | None:
        """Width of the output, as the last layer declares it."""
        value = self.layers[-1].arguments.get("n_components")
        return value if type(value) is int else None


def parse_config(document: object) -> ModelConfig:
    """Validate a decoded `config.json`.

    Raises:
        ConfigInvalid: with the JSON pointer of the first fault.
    """
    try:
        return ModelConfig.model_validate(document)
    except ValidationError as error:
        fault = first_fault(error)
        raise ConfigInvalid(f"{fault.pointer}: {fault.sentence}", pointer=fault.pointer) from None


def parse_loss(document: object) -> Component:
    """Validate the `loss` of one train step: a name or `{"type": …}`.

    Raises:
        ConfigInvalid: with the JSON pointer of the first fault.
    """
    try:
        return Component.model_validate(_named(document))
    except ValidationError:
        raise ConfigInvalid(
            'expected a loss name or an object like {"type": "mse"}', pointer="/loss"
        ) from None
