"""Nothing here can run code that came as data: read from the source, so that it cannot creep in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_FOLDERS = ("app", "benchmarks", "docs", "examples", "tests")
_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
_BUILT_IN = {"eval", "exec", "__import__"}
_UNSAFE = {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen"}
# What one file may do, and why.
_EXCUSED = {
    # A pickle as strangers send it, for the tests that refuse it.
    "tests/unit/exchange/examples.py": {"import of pickle"},
    # An array of objects, written so that it can be refused.
    "tests/unit/cli/test_training_file.py": {"allow_pickle=True"},
}
# Writing a state_dict is harmless: these make files for other tools, or as other tools do.
_MAY_SAVE = ("app/exchange/", "examples/", "tests/")


def test_no_file_can_run_what_it_reads() -> None:
    found = {
        f"{path.relative_to(_ROOT)}: {fault}"
        for folder in _FOLDERS
        for path in (_ROOT / folder).rglob("*.py")
        for fault in _faults(path.read_text(encoding="utf-8"))
        if not _is_excused(path, fault)
    }
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import pickle as harmless",
        "from dill import loads",
        "import joblib.numpy_pickle",
        "from marshal import loads",
        "numpy.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "from torch import load",
        "torch.save(state, path)",
        "from torch import save as write",
        "eval(text)",
        "exec(text)",
        "builtins.exec(text)",
        "__import__(name)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "pandas.read_pickle(path)",
        "importlib.import_module('pickle')",
    ],
)
def test_a_seeded_line_is_caught(line: str) -> None:
    assert list(_faults(line))


@pytest.mark.parametrize(
    "line",
    [
        "import pickletools",
        "torch.load(path, map_location='cpu', weights_only=True)",
        "numpy.load(path, allow_pickle=False)",
        "yaml.safe_load(text)",
        "re.compile(text)",
        "subprocess.run(words, shell=False)",
    ],
)
def test_a_harmless_line_is_not(line: str) -> None:
    assert not list(_faults(line))


def test_every_excuse_is_needed() -> None:
    for name, excused in _EXCUSED.items():
        assert set(_faults((_ROOT / name).read_text(encoding="utf-8"))) >= excused


def _is_excused(path: Path, fault: str) -> bool:
    name = str(path.relative_to(_ROOT))
    may_save = fault == "torch.save" and name.startswith(_MAY_SAVE)
    return may_save or fault in _EXCUSED.get(name, ())


def _faults(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from _imported(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from _imported([node.module or ""])
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from sorted(names & (_UNSAFE | {"torch.load", "torch.save"}))
        elif isinstance(node, ast.Call):
            yield from _called(node)


def _imported(modules: Iterator[str] | list[str]) -> Iterator[str]:
    for module in modules:
        if module.partition(".")[0] in _MODULES:
            yield f"import of {module}"


def _called(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    if name.removeprefix("builtins.") in _BUILT_IN or name in _UNSAFE or last == "read_pickle":
        yield name
    if name in ("torch.load", "torch.jit.load") and given.get("weights_only") != "True":
        yield f"{name} without weights_only=True"
    if name == "torch.save":
        yield name
    for word, harmless in (("allow_pickle", "False"), ("shell", "False")):
        if given.get(word, harmless) != harmless:
            yield f"{word}={given[word]}"
    if last == "import_module" and call.args and isinstance(call.args[0], ast.Constant):
        yield from _imported([str(call.args[0].value)])
