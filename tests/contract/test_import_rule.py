"""The rooms' one-way rule: who may import whom, read from the code with `ast`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "app"

_LEAVES = frozenset(
    {
        "allowed",
        "config",
        "errors",
        "failpoints",
        "faults",
        "names",
        "registry",
        "settings",
        "telemetry",
        "types",
        "wording",
    }
)
_BELOW_LAYERS = frozenset({"allowed", "config", "errors", "faults", "registry", "wording"})
_CODECS = _LEAVES | {"codecs"}
_HTTP = frozenset(
    {"fastapi", "starlette", "uvicorn", "httptools", "httpx", "http", "urllib", "socket"}
)
_DISK = frozenset({"pathlib", "os", "shutil", "tempfile", "sqlite3", "io", "mmap", "fcntl"})
_THREADS = frozenset({"threading", "concurrent", "asyncio", "multiprocessing", "queue"})


@dataclass(frozen=True, slots=True)
class Rule:
    """What a room may import of ours, and must not import of others."""

    ours: frozenset[str]
    not_others: frozenset[str]


_LEAF = Rule(_LEAVES, _HTTP | {"torch"})
RULES: dict[str, Rule] = {
    **dict.fromkeys(_LEAVES, _LEAF),
    "access": Rule(_LEAVES | {"access"}, _HTTP | {"torch", "numpy"}),
    "codecs": Rule(_CODECS, _HTTP | _DISK | {"torch"}),
    "layers": Rule(_BELOW_LAYERS | {"layers"}, _HTTP | _DISK | _THREADS | {"numpy"}),
    "training": Rule(_CODECS | {"layers", "training"}, _HTTP | _DISK | _THREADS),
    "comparison": Rule(_CODECS | {"layers", "training", "comparison"}, _HTTP | _THREADS),
    "engine": Rule(_CODECS | {"layers", "training", "engine"}, _HTTP | _DISK),
    "storage": Rule(_LEAVES | {"storage"}, _HTTP | {"torch", "numpy"}),
    "exchange": Rule(_CODECS | {"layers", "exchange"}, _HTTP),
    "service": Rule(_CODECS | {"engine", "storage", "exchange", "service"}, _HTTP | {"torch"}),
    "api": Rule(_CODECS | {"access", "service", "api"}, frozenset({"torch"})),
    "upstream": Rule(_CODECS | {"upstream"}, _DISK | frozenset({"torch", "fastapi", "uvicorn"})),
    "client": Rule(_CODECS | {"client"}, _DISK | frozenset({"torch", "fastapi", "uvicorn"})),
    "cli": Rule(
        _CODECS | {"access", "api", "comparison", "service", "main", "client", "cli"},
        frozenset({"torch", "fastapi"}),
    ),
}  # fmt: skip
# Composition and the entry point put the rooms together.
_FREE = {"main", "__main__", "__init__"}

SEEDED = {
    "api/routes/reduce.py": "import torch",
    "api/app.py": "from app.engine import Engine",
    "api/errors.py": "from app.storage.repository import Repository",
    "api/hot.py": "def late():\n    from app.training import Trainer",
    "service/service.py": "import torch.nn as nn",
    "service/models.py": "from fastapi import Request",
    "service/validation.py": "from app import api",
    "engine/live.py": "from app.storage.version import read_files",
    "engine/worker.py": "import uvicorn",
    "engine/device.py": "from pathlib import Path",
    "training/trainer.py": "from threading import Lock",
    "training/state.py": "from app.engine.live import LiveModel",
    "layers/stack.py": "import numpy as np",
    "layers/qr_reduction.py": "from app.types import FloatArray",
    "storage/lock.py": "import numpy",
    "storage/version.py": "from app.codecs import pack",
    "codecs/json.py": "import torch",
    "codecs/npy.py": "from starlette.requests import Request",
    "exchange/state_dict.py": "from app.service import Service",
    "client/verbs.py": "from app.api.codes import CODES",
    "client/arrays.py": "import torch",
    "upstream/line.py": "from app.service import Service",
    "upstream/upstream.py": "from pathlib import Path",
    "cli/train.py": "from app.engine import Engine",
    "comparison/plot.py": "from app.service import Service",
    "comparison/text.py": "from fastapi import Request",
    "access/key_ring.py": "from app.api.gate import Gate",
    "access/keys_file.py": "from starlette.requests import Request",
    "errors.py": "from app.codecs import CODECS",
    "types/values.py": "if TYPE_CHECKING:\n    from app.engine import Engine",
}


def test_no_room_imports_what_it_must_not() -> None:
    assert list(violations(APP)) == []


def test_every_room_has_a_rule() -> None:
    rooms = {path.stem for path in APP.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert rooms - {"__pycache__"} == RULES.keys() | _FREE


@pytest.mark.parametrize(("path", "line"), SEEDED.items(), ids=SEEDED)
def test_a_seeded_wrong_import_is_caught(tmp_path: Path, path: str, line: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(line)
    assert len(list(violations(tmp_path))) == 1


def test_a_relative_import_is_caught(tmp_path: Path) -> None:
    (tmp_path / "errors.py").write_text("from . import types")
    assert len(list(violations(tmp_path))) == 1


def violations(app: Path) -> Iterator[str]:
    """Each import that breaks a rule, as `file:line what`."""
    for path in sorted(app.rglob("*.py")):
        relative = path.relative_to(app)
        room = relative.parts[0].removesuffix(".py")
        if room in _FREE:
            continue
        for line, module in _imports(ast.parse(path.read_text(encoding="utf-8"))):
            if not _is_allowed(module.split("."), RULES[room]):
                yield f"app/{relative}:{line} {module}"


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every import wherever it stands, `from app import x` as `app.x`; relative ones as `.`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "."
        elif isinstance(node, ast.ImportFrom) and node.module == "app":
            yield from ((node.lineno, f"app.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or "."


def _is_allowed(parts: list[str], rule: Rule) -> bool:
    if parts[0] == "":
        return False
    if parts[0] == "app":
        return parts[1] in rule.ours | {"__version__"}
    return parts[0] not in rule.not_others
