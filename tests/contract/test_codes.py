"""The tables of codes hold what the source raises, read from it, so that they cannot go stale."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import app.api.asgi
import app.api.errors
import app.errors
from app import faults
from app.api.codes import CODES, PROCESS_CODES
from app.api.errors import kind_of
from app.errors import SlimvecError, StartupError

_APP = Path(app.errors.__file__).parent
_KINDS: dict[str, type[SlimvecError]] = {
    name: kind
    for module in (app.errors, app.api.errors, app.api.asgi)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, SlimvecError)
}
# These hand on what another site chose: `app.faults` one of four words that codecs use too.
_HANDED_ON = {"fault.code", "error.code"}
_NEVER_SAID = {"client_gone"}  # there is nobody left to read it


def test_every_code_in_the_source_is_in_the_tables_and_the_other_way_round() -> None:
    listed = {(status, code) for status, codes in CODES.items() for code in codes}
    of_process = {(None, code) for code in PROCESS_CODES}
    assert set(_raised()) == listed | of_process


def test_a_code_has_one_status() -> None:
    codes = [code for codes in CODES.values() for code in codes] + [*PROCESS_CODES]
    assert len(set(codes)) == len(codes)


def test_a_fault_of_pydantic_has_a_listed_code() -> None:
    (body,) = ast.parse(inspect.getsource(faults.first_fault)).body
    constants = {str(node.value) for node in ast.walk(body) if isinstance(node, ast.Constant)}
    words = {text for text in constants if re.fullmatch(r"[a-z]+(_[a-z]+)+", text)}
    codes = words | set(vars(faults)["_CODES"].values())
    assert {"missing_field", "wrong_type"} < codes <= CODES[422].keys()


def _raised() -> Iterator[tuple[int | None, str]]:
    """Status and code of every error that is made anywhere; no status for those of the process."""
    for path in _APP.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (kind := _KINDS.get(_callee(node))):
                code = _code(kind, node)
                if code not in _HANDED_ON | _NEVER_SAID:
                    yield _status(kind), code


def _callee(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _status(kind: type[SlimvecError]) -> int | None:
    return None if issubclass(kind, StartupError) else kind_of(kind.__new__(kind)).status


def _code(kind: type[SlimvecError], call: ast.Call) -> str:
    """The word as it is written in the call, or the one that the class gives itself."""
    parameters = inspect.signature(kind).parameters
    given = dict(zip(parameters, call.args, strict=False))
    given |= {str(keyword.arg): keyword.value for keyword in call.keywords}
    if "code" in given:
        return _word(given["code"])
    if "code" in parameters:
        return str(parameters["code"].default)
    calls = [node for node in ast.walk(_source(kind)) if isinstance(node, ast.Call)]
    return _word(next(node for node in calls if _callee(node) == "__init__").args[0])


def _source(kind: type) -> ast.AST:
    return ast.parse(inspect.getsource(kind))


def _word(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)
