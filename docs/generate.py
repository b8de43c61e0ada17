"""Write the parts of the docs that have their source in the code: settings, registries, errors.

`make generate` rewrites the pages; a test calls `render()` and compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import getdoc
from pathlib import Path

from app.api.errors import KINDS
from app.codecs import CODECS
from app.layers import INITIALISERS, LAYERS, PARAMETRIZATIONS
from app.settings import ENV_PREFIX, Settings
from app.training.losses import LOSSES
from app.training.optimizers import OPTIMIZERS

DOCS = Path(__file__).parent

_NOTE = "<!-- Written by `make generate` from the code; edit the code instead. -->\n"


def render() -> dict[str, str]:
    """Every generated page, by file name."""
    return {"settings.md": _settings(), "registries.md": _registries(), "errors.md": _errors()}


def _settings() -> str:
    rows = [
        (
            f"`{ENV_PREFIX}{name.upper()}`",
            f"`--{name.replace('_', '-')}`",
            f"`{field.default}`",
            str(field.description),
        )
        for name, field in Settings.model_fields.items()
    ]
    head = (
        "# Settings\n\nHow the server runs: a variable, or the flag of `slimvec serve` of the same "
        "name (the flag wins). What a *model* is stands in its config, see "
        "[models.md](models.md).\n\n"
    )
    return _NOTE + head + _table(("variable", "flag", "default", "what"), rows)


def _registries() -> str:
    kinds: dict[str, Mapping[str, object]] = {
        "Layers": LAYERS,
        "Initialisers": INITIALISERS,
        "Parametrizations": PARAMETRIZATIONS,
        "Losses": LOSSES,
        "Optimizers": OPTIMIZERS,
        "Media types": CODECS,
    }
    parts = [_NOTE + "# Registries\n\nEverything that a config or a request may name.\n"]
    for title, registry in kinds.items():
        rows = [(f"`{name}`", _first_line(member)) for name, member in registry.items()]
        parts.append(f"\n## {title}\n\n" + _table(("name", "what"), rows))
    return "".join(parts)


def _errors() -> str:
    rows = [
        (str(kind.status), kind.title, f"`{cls.__name__}`", _first_line(cls))
        for cls, kind in sorted(KINDS.items(), key=lambda item: item[1].status)
    ]
    head = (
        "# Refusals\n\nEvery refusal is an RFC 9457 problem with a machine word `code`; nothing "
        "changed. One table in `app/api/errors.py` maps kinds of error to status codes.\n\n"
    )
    return _NOTE + head + _table(("status", "title", "error", "when"), rows)


def _first_line(member: object) -> str:
    subject = member if isinstance(member, type) or callable(member) else type(member)
    return (getdoc(subject) or "").partition("\n")[0]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    for name, text in render().items():
        (DOCS / name).write_text(text, encoding="utf-8")
