"""Settings: how the server runs. One source for variables, flags and docs/settings.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
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

    keys_file: Path | None = Field(
        None, description="the API keys that may ask, as `slimvec keys add` writes them"
    )
    insecure_no_auth: bool = Field(
        False, description="listen beyond this machine although nobody needs a key"
    )
    allowed_hosts: str = Field(
        "", description="names in Host that are answered beside those of this machine, by commas"
    )
    allowed_origins: str = Field(
        "", description="origins of pages that may ask beside our own, by commas"
    )

    max_json_body_bytes: int = Field(8 << 20, ge=1024, description="largest JSON body")
    max_binary_body_bytes: int = Field(64 << 20, ge=1024, description="largest binary body")
    max_rows: int = Field(131_072, ge=1, description="most rows in one request")
    max_input_size: int = Field(
        65_536, ge=1, description="widest hidden_states that a model is made for"
    )
    max_connections: int = Field(4096, ge=1, description="most open connections")
    max_concurrent_requests: int = Field(1024, ge=1, description="most requests in flight")
    max_bytes_in_flight: int = Field(
        512 << 20, ge=1 << 20, description="most memory for the bodies of requests, in bytes"
    )
    max_header_bytes: int = Field(16 << 10, ge=1024, description="largest head of a request")
    max_headers: int = Field(100, ge=8, description="most headers of a request")
    max_url_bytes: int = Field(8 << 10, ge=256, description="longest target of a request")
    max_chunks: int = Field(65_536, ge=1, description="most chunks of a chunked body")
    header_timeout_s: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="longest wait for a whole head, in seconds"
    )
    body_idle_timeout_s: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="longest pause within a body, in seconds"
    )
    body_timeout_s: float = Field(
        60.0, gt=0, allow_inf_nan=False, description="longest wait for a whole body, in seconds"
    )
    keep_alive_s: float = Field(
        75.0, gt=0, allow_inf_nan=False, description="how long an idle connection stays open"
    )
    short_cycle: bool = Field(
        True,
        description="/reduce and /train-step are answered where they are parsed; off: through ASGI",
    )
    deterministic: bool = Field(
        False, description="the bits of a row do not depend on the rows that it came with"
    )
    train_queue: int = Field(64, ge=1, description="most train steps waiting, a model")
    max_rejections: int = Field(
        1000, ge=1, description="most rejected steps in a row, a sender and model, until a pause"
    )
    train_group: int = Field(16, ge=1, description="most train steps in one commit")

    upstream_url: str | None = Field(
        None, description="an OpenAI-compatible server that makes embeddings of text, up to /v1"
    )
    upstream_key: SecretStr | None = Field(
        None, description="the API key that the upstream wants; never one of ours"
    )
    upstream_model: str | None = Field(
        None,
        description="the upstream's model; a request that names it gets the default model of ours",
    )
    upstream_batch: int = Field(32, ge=1, description="most texts in one request to the upstream")
    upstream_timeout_s: float = Field(
        30.0, gt=0, allow_inf_nan=False, description="longest wait for the upstream, in seconds"
    )

    openai_normalize: bool = Field(
        True,
        description="/v1/embeddings answers rows of length one, where a request does not say",
    )

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
    quality_every_s: float = Field(
        60.0,
        ge=0,
        allow_inf_nan=False,
        description="take the quality of a model that remembers vectors so often, in seconds, "
        "within 1 % of one CPU; 0: never",
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
