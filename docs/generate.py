"""Write the parts of the docs that have their source in the code: settings, registries, errors.

`make generate` rewrites the pages; a test calls `render()` and compares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from inspect import getdoc
from pathlib import Path
from typing import cast

from app.api.codes import CODES, PROCESS_CODES
from app.api.errors import KINDS
from app.codecs import CODECS
from app.config import Arguments
from app.errors import SlimvecError
from app.layers import INITIALISERS, PARAMETRIZATIONS
from app.layers import KINDS as LAYERS
from app.settings import ENV_PREFIX, Settings
from app.training.examined import METRICS
from app.training.fits import FITS
from app.training.losses import LOSSES, Loss
from app.training.optimizers import OPTIMIZERS
from app.training.schedulers import SCHEDULERS

DOCS = Path(__file__).parent
_AS_WITHIN = "as those in it"

_NOTE = "<!-- Written by `make generate` from the code; edit the code instead. -->\n"


def render() -> dict[str, str]:
    """Every generated page, by file name."""
    return {"settings.md": _settings(), "registries.md": _registries(), "errors.md": _errors()}


def _settings() -> str:
    rows = [
        (
            f"`{ENV_PREFIX}{name.upper()}`",
            f"`--{name.replace('_', '-')}`",
            "none" if field.default is None else f"`{field.default}`",
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
        "Fits": FITS,
        "Losses": LOSSES,
        "Metrics": METRICS,
        "Optimizers": OPTIMIZERS,
        "Schedulers": SCHEDULERS,
        "Media types": CODECS,
    }
    parts = [_NOTE + "# Registries\n\nEverything that a config or a request may name.\n"]
    for title, registry in kinds.items():
        more = _MORE.get(title, {})
        rows = [
            (f"`{name}`", _first_line(member), *(tell(member) for tell in more.values()))
            for name, member in registry.items()
        ]
        parts.append(f"\n## {title}\n\n" + _table(("name", "what", *more), rows))
    return "".join(parts)


def _fields(member: object) -> str:
    """The arguments of a registered thing whose fields they are."""
    return ", ".join(
        f"`{name}`" if field.is_required() else f"`{name}` = `{json.dumps(field.default)}`"
        for name, field in cast(type[Arguments], member).model_fields.items()
    )


def _needs(loss: object) -> str:
    made = _made(loss)
    return _AS_WITHIN if made is None else _names({"hidden_states"} | made.needs)


def _accepts(loss: object) -> str:
    made = _made(loss)
    return _AS_WITHIN if made is None else _names(made.accepts)


def _made(loss: object) -> Loss | None:
    """The loss with its default arguments; none where it is made of other losses."""
    try:
        return cast(Callable[[], Loss], loss)()
    except TypeError:
        return None


def _names(names: Set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"


# Columns beside name and what, by section.
_MORE: dict[str, dict[str, Callable[[object], str]]] = {
    "Initialisers": {"arguments and defaults": _fields},
    "Parametrizations": {"arguments and defaults": _fields},
    "Fits": {"arguments and defaults": _fields},
    "Losses": {"needs": _needs, "accepts": _accepts},
}


def _errors() -> str:
    kinds = sorted(KINDS.items(), key=lambda item: item[1].status)
    rows = [
        (str(kind.status), kind.title, f"`{cls.__name__}`", _WHEN.get(cls) or _first_line(cls))
        for cls, kind in kinds
    ]
    head = (
        "# Refusals\n\nEvery refusal is an RFC 9457 problem with a machine word `code`; nothing "
        "changed, but for `outcome_unknown`, which leaves that open. One table in "
        "`app/api/errors.py` maps kinds of error to status codes, one in `app/api/codes.py` says "
        "what each `code` means.\n\n## Kinds\n\n"
    )
    codes = [
        (str(status), f"`{code}`", meaning)
        for status, meanings in CODES.items()
        for code, meaning in meanings.items()
    ]
    last_words = [(f"`{code}`", meaning) for code, meaning in PROCESS_CODES.items()]
    return "".join(
        (
            _NOTE + head + _table(("status", "title", "error", "when"), rows),
            "\n## Codes\n\n" + _table(("status", "code", "meaning"), codes),
            "\n## Codes of the process\n\nSaid by a server that cannot start, or cannot end well; "
            "never over HTTP.\n\n" + _table(("code", "meaning"), last_words),
        )
    )


# The root's own docstring is about the class; as a kind it is what no other kind fits.
_WHEN = {SlimvecError: "A fault of the server; the request id finds it in the log."}


def _first_line(member: object) -> str:
    own = member.__doc__ if not isinstance(member, type) else None
    subject = member if isinstance(member, type) or callable(member) else type(member)
    return (own or getdoc(subject) or "").strip().partition("\n")[0]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(_cell(text) for text in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    for name, text in render().items():
        (DOCS / name).write_text(text, encoding="utf-8")
