"""The models directory, and the way from it to a model's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from app.errors import NotFound
from app.storage.directory import Directory
from app.storage.journal import Place
from app.storage.stored_journal import StoredJournal
from app.storage.system import System


class Root:
    """A models directory by its path.

    Args:
        path: where it is.
        system: the operating-system calls.
    """

    def __init__(self, path: Path, system: System) -> None:
        self.path = path
        self._system = system

    @contextmanager
    def open(self, *names: str) -> Iterator[Directory]:
        """The root, or the folder below it that the names lead to.

        Raises:
            NotFound: one of the names is not a folder, or may not be opened.
        """
        with ExitStack() as opened:
            folder = opened.enter_context(Directory.at(self.path, self._system))
            for name in names:
                try:
                    folder = opened.enter_context(folder.folder(name))
                except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
                    raise NotFound(
                        "folder_not_found", f"the folder '{name}' cannot be opened"
                    ) from error
            yield folder

    @contextmanager
    def made(self, model: str) -> Iterator[Directory]:
        """A model's folder, made when it is new and unmade when the body then fails."""
        with self.open() as root:
            is_new = not root.has(model)
            if is_new:
                root.make(model)
            try:
                root.sync()
                with root.folder(model) as folder:
                    yield folder
            except BaseException:
                if is_new:
                    with suppress(OSError):
                        root.unmake(model)
                raise

    def journal(self, model: str, folder: Directory) -> StoredJournal:
        """The journal in a model's open folder."""
        return StoredJournal.of(Place(self.path / model, model, self._system), folder)
