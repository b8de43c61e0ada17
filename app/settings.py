"""Settings: how the server runs. One source for variables, flags and docs/settings.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_PREFIX = "SLIMVEC_"

Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$")]


class Settings(BaseSettings):
    """Every field is the variable `SLIMVEC_<NAME>` and the flag `--<name>` of `slimvec serve`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
    )

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65_535, description="port to listen on; 0 takes a free one")
    models_dir: Path = Field(Path("models"), description="the model repository")
    default_model: str = Field(
        "minilm-384-to-96", description="the model that /reduce and /train-step are short for"
    )
    state_dict: Path | None = Field(
        None, description="serve this .pt or .safetensors file, imported under its own name"
    )

    device: Device = Field("auto", description="auto, cpu, cuda, cuda:N or mps; chosen once")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="what /reduce multiplies in; training is always float32"
    )
    threads: int = Field(
        1, ge=1, le=1024, description="torch threads; more than 1 rarely helps beside serving"
    )

    max_json_body_bytes: int = Field(8 << 20, ge=1024, description="largest JSON body")
    max_binary_body_bytes: int = Field(64 << 20, ge=1024, description="largest binary body")
    max_rows: int = Field(131_072, ge=1, description="most rows in one request")
    max_concurrent_requests: int = Field(1024, ge=1, description="most reduces in flight")
    train_queue: int = Field(64, ge=1, description="most train steps waiting, a model")
    train_group: int = Field(16, ge=1, description="most train steps in one commit")

    checkpoint_every_steps: int = Field(
        1000, ge=1, description="write a checkpoint after so many steps"
    )
    checkpoint_every_s: float = Field(
        60.0,
        gt=0,
        allow_inf_nan=False,
        description="write a checkpoint when steps are that old, in seconds",
    )
    checkpoint_every_bytes: int = Field(
        256 << 20, ge=1 << 20, description="write a checkpoint when the journal is that large"
    )
    retain_checkpoints: int = Field(
        4, ge=2, description="checkpoints kept, a model; initial and imported versions always are"
    )
    retain_bytes: int = Field(
        8 << 30, ge=1, description="most bytes of all versions of a model; the two newest stay"
    )
    retain_s: float = Field(
        30 * 86_400.0,
        gt=0,
        allow_inf_nan=False,
        description="oldest checkpoint kept, in seconds of serving; the two newest stay",
    )
    idempotency_window_s: float = Field(
        86_400.0,
        gt=0,
        allow_inf_nan=False,
        description="an Idempotency-Key is remembered so long, in seconds of serving",
    )
    idempotency_keys: int = Field(
        100_000, ge=1, description="so many of the newest keys are remembered for longer, a model"
    )
    idempotency_keys_max: int = Field(
        1_000_000, ge=1, description="most keys remembered, a model, however young"
    )
    allow_divergent_replay: bool = Field(
        False, description="recover also when that gives other bits than before; says so"
    )
    drain_timeout_s: float = Field(
        30.0,
        gt=0,
        allow_inf_nan=False,
        description="longest wait for accepted work after SIGTERM, in seconds",
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe record written"
    )
    log_format: Literal["text", "json"] = Field("text", description="how records are written")
    access_log: bool = Field(False, description="a record for every request, not only refusals")
