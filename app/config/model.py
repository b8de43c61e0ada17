"""Config: what a model is and how it learns. Torch-free; names are checked where they are built."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from app.allowed import schema_of
from app.config.component import Component, named, read_component
from app.config.guards import GuardsConfig
from app.config.optimizer import MAX_ACCUMULATED, ClippingConfig, OptimizerConfig
from app.config.recipe import DistilConfig, GateConfig, ObserveConfig, Recipe
from app.errors import ConfigInvalid
from app.faults import first_fault

MAX_WIDTH = 65_536
# The second moment of this width is 67 MB, and its eigenvectors take seconds.
MAX_OBSERVED = 4096

Size = Annotated[int, Field(ge=1, le=MAX_WIDTH)]


class ModelConfig(BaseModel):
    """What a model is and how it learns; the whole of `config.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    input_size: int = Field(ge=1, le=MAX_WIDTH, description="width of hidden_states")
    input_shape: tuple[Size | None, ...] = Field(
        default=(),
        max_length=8,
        strict=False,
        fail_fast=True,
        description="shape of one row where that is not a vector; null: any length; the last one "
        "is input_size",
    )
    layers: tuple[Component, ...] = Field(
        min_length=1,
        strict=False,
        fail_fast=True,
        description="the stack, first to last, by class name",
    )
    loss: Annotated[Component, BeforeValidator(named)] = Field(
        default=Component(type="similarity"), description="used by a train step that names none"
    )
    optimizer: OptimizerConfig = Field(
        default=OptimizerConfig.model_validate({"type": "Adam", "lr": 1e-3}),
        description="by its torch name, with its own arguments",
    )
    scheduler: tuple[Component, ...] = Field(
        default=(),
        max_length=8,
        strict=False,
        fail_fast=True,
        description="of the learning rate, by torch's names; several act one after the other",
    )
    gradient_clipping: ClippingConfig = Field(
        default=ClippingConfig(), description="limits of the gradients; none as it stands"
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        le=MAX_ACCUMULATED,
        description="train steps whose gradients are averaged before the optimizer takes a step",
    )
    recipe: Recipe = Field(
        default="distil",
        description="plain: exactly the declared loss and optimizer; distil: neighbours "
        "kept by one pass over a stream. Left out, a config that declares a loss is plain, and one "
        "whose layers are not a single QRReduction",
    )
    distil: DistilConfig = Field(default=DistilConfig(), description="of the recipe distil")
    observe: bool = Field(
        default=False,
        description="whether a plain model remembers moments and a reservoir of its vectors; one "
        "with the recipe distil always does",
    )
    observed: ObserveConfig = Field(default=ObserveConfig(), description="how much it remembers")
    gate: GateConfig = Field(
        default=GateConfig(), description="of the recipe distil: when a new version is not served"
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
    def unused(self) -> tuple[str, ...]:
        """What is declared and not used by the recipe, each a sentence behind its pointer."""
        names = ("loss",) if self.recipe == "distil" else ("distil", "gate")
        return tuple(
            f"/{name}: recipe {self.recipe!r} does not use it; leave it out"
            for name in names
            if getattr(self, name) != type(self).model_fields[name].default
        )

    @model_validator(mode="before")
    @classmethod
    def _choose_recipe(cls, document: Any) -> Any:
        """A config that says what to minimise, or whose layers no moment tells, means just that."""
        if not isinstance(document, dict) or "recipe" in document:
            return document
        is_plain = "loss" in document or not can_follow_moments(document)
        return {**document, "recipe": "plain" if is_plain else "distil"}


def can_follow_moments(document: dict[str, Any]) -> bool:
    """Whether the layers are one reduction whose weights can be set from moments of its input.

    One QRReduction that has no bias, keeps nothing but orthonormal rows, does not widen, and whose
    input is vectors of a width that moments are kept for.
    """
    layers, width = document.get("layers"), document.get("input_size")
    if document.get("input_shape") or not isinstance(layers, list | tuple) or len(layers) != 1:
        return False
    layer = layers[0].model_dump() if isinstance(layers[0], Component) else layers[0]
    return (
        isinstance(layer, dict)
        and layer.get("type") == "QRReduction"
        and not layer.get("bias")
        and named(layer.get("parametrization", "none")) in ({"type": "none"}, {"type": "qr"})
        and isinstance(width, int)
        and width <= MAX_OBSERVED
        and isinstance(layer.get("n_components"), int)
        and layer["n_components"] <= width
    )


def parse_config(document: object) -> ModelConfig:
    """Validate a decoded `config.json`.

    Raises:
        ConfigInvalid: with the JSON pointer of the first fault.
    """
    try:
        return ModelConfig.model_validate(document)
    except ValidationError as error:
        fault = first_fault(error, schema_of(ModelConfig))
        raise ConfigInvalid(f"{fault.pointer}: {fault.told}", pointer=fault.pointer) from None


def parse_loss(document: object, *, pointer: str = "/loss") -> Component:
    """Validate the `loss` of one train step: a name or `{"type": …}`.

    Raises:
        ConfigInvalid: with the JSON pointer of the first fault.
    """
    wanted = 'the name of a loss, or an object like {"type": "mse"}'
    return read_component(named(document), wanted=wanted, pointer=pointer)
