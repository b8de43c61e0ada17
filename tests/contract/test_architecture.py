"""What `docs/architecture.md` and the README of a room say about files is true and complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

APP = Path("app")
PAGE = Path("docs/architecture.md")
READMES = sorted(APP.glob("*/README.md"))
PACKAGES = sorted(folder.parent for folder in APP.glob("*/**/__init__.py"))
_ROW = re.compile(r"^\| (`[^|]+`) \|", re.MULTILINE)
_NAME = re.compile(r"`([\w/*.]+)`")


def named(text: str, root: Path) -> list[Path]:
    """The files and folders that tables name; a row goes on in the folder of the one before."""
    found: list[Path] = []
    for row in _ROW.findall(text):
        folder = root
        for name in _NAME.findall(row):
            place = next((at for at in (root, folder) if list(at.glob(name))), None)
            assert place is not None, f"there is no {name}"
            found += place.glob(name)
            folder = found[-1].parent
    return found


def files_below(paths: list[Path]) -> set[Path]:
    return {file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))}


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_the_architecture_names_every_package(package: Path) -> None:
    rooms, files = PAGE.read_text().split("## Rooms")[1].split("## What is where")
    if package.parent == APP:
        assert re.search(rf"\b{package.name}\b", rooms)
    else:
        assert files_below(named(files, APP)) & set(package.glob("*.py"))


@pytest.mark.parametrize("readme", READMES, ids=str)
def test_the_readme_of_a_room_names_every_file(readme: Path) -> None:
    room = readme.parent
    files = {file for file in room.rglob("*.py") if file.name != "__init__.py"}
    assert sorted(files - files_below(named(readme.read_text(), room))) == []
