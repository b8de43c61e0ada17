"""First versions: how a model gets into the repository, from a config, weights or data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from app.codecs import digest, short_digest
from app.config import Component, ModelConfig, parse_config
from app.engine import Accumulator, Engine, FitOutcome
from app.errors import Conflict
from app.exchange import ImportedLayer, read_state_dict
from app.failpoints import reach
from app.names import check_model_name
from app.service.validation import check_batch
from app.service.version_files import from_files, to_files
from app.types import Batch, Fit, NamedArrays, Origin, Store

# What to do where the name of a new model is taken.
_OVER_HTTP = (
    "delete it first, or send weights with If-Match and its version to put them in the place of "
    "the present ones"
)
_BY_COMMAND = (
    "write to another folder, or give the weights to the model on its running server: --url in the "
    "place of --out"
)


class FirstVersions:
    """Writes version 1 of new models; none of them is live before it is loaded.

    Args:
        engine: makes the weights.
        store: the model repository.
    """

    def __init__(self, engine: Engine, store: Store) -> None:
        self._engine = engine
        self._store = store

    def write(
        self, name: str, config: ModelConfig, weights: NamedArrays | None, origin: Origin
    ) -> None:
        """Write version 1 from a config, and weights if there are any.

        Raises:
            Unacceptable: not a model name; a config that cannot be built.
            Conflict: the name is taken.
        """
        self._check_free(name, _OVER_HTTP)
        checkpoint = self._engine.initial(config, weights)
        self._store.write(name, checkpoint.version, to_files(checkpoint, origin))

    def write_layer(self, name: str, layer: ImportedLayer) -> None:
        """Write version 1 from a trained layer; see `write`."""
        self.write(name, _config_for(layer), layer.tensors, "import")

    def import_file(self, path: Path, name: str) -> ImportedLayer:
        """Write a trained layer into the repository as version 1.

        Raises:
            ArtifactInvalid: the file is not such a layer.
            Conflict: the name is taken by other weights (by the same ones: nothing to do).
        """
        layer = read_state_dict(path)
        reach("import.after_validate")
        if check_model_name(name) in self._store.models():
            self._check_same(name, layer)
        else:
            self.write_layer(name, layer)
            reach("import.after_rename")
        return layer

    def fit(
        self, name: str, config: ModelConfig, batches: Iterable[Batch], method: Component
    ) -> FitOutcome:
        """Write version 1 with weights that are made from data.

        Raises:
            Unacceptable: not a model name; a config or a batch that cannot be used.
            Conflict: the name is taken.
        """
        self._check_free(name, _BY_COMMAND)
        accumulator = Accumulator(config, method)
        for batch in batches:
            check_batch(batch, (config.input_size,), name)
            accumulator.add(batch)
        request = Fit(method=method, moments=accumulator.moments())
        checkpoint, outcome = self._engine.fitted(config, request)
        self._store.write(name, checkpoint.version, to_files(checkpoint, "initial"))
        return outcome

    def _check_free(self, name: str, way_out: str) -> None:
        if check_model_name(name) in self._store.models():
            raise Conflict(
                "model_exists",
                f"expected the name of a new model, got {name!r}, which exists already; {way_out}",
            )

    def _check_same(self, name: str, layer: ImportedLayer) -> None:
        first = self._store.versions(name)[0]
        stored = from_files(first, self._store.read(name, first))
        if stored.digest != short_digest(digest(layer.tensors)):
            raise Conflict(
                "model_exists",
                f"model {name!r} exists already and began with other weights than this file's; "
                "import it under another name: slimvec import FILE --name NAME",
            )


def _config_for(layer: ImportedLayer) -> ModelConfig:
    """The config of a model made from a trained layer; everything else is the default."""
    qr_reduction = {
        "type": "QRReduction",
        "n_components": layer.n_components,
        "bias": layer.bias is not None,
    }
    return parse_config({"input_size": layer.input_size, "layers": [qr_reduction]})
