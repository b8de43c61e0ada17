"""A disk whose power can be cut: ext4 in a file on XFS, cloned while it is written to.

What ext4 has not sent to the file yet is in memory only, and is not in the clone: exactly what is
lost when the power goes. Writes that were sent count as kept, so the model is a disk that keeps its
own cache (the product asks for a flush either way).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.crash import mounts

PROGRAMS = ("mkfs.xfs", "mkfs.ext4", "losetup", "mount")
_HOST_BYTES, _DISK_BYTES = 4 << 30, 1 << 30
# Nothing is written back by itself for ten minutes, so only what is synced survives.
_LAZY = ("-o", "commit=600")


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk; `folder` is where it is mounted."""

    folder: Path
    _image: Path

    @contextmanager
    def cut(self) -> Iterator[Path]:
        """What is on the disk if the power goes now, mounted somewhere else."""
        copy = self._image.with_name("cut.img")
        mounts.clone(self._image, copy)
        with (
            mounts.loop(copy) as device,
            mounts.mounted(device, self.folder.with_name("cut")) as found,
        ):
            yield found


@contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """Make a disk below a folder, mount it, and take it down at the end."""
    host = folder / "host.img"
    mounts.make_image(host, _HOST_BYTES, "mkfs.xfs", "-q", "-m", "reflink=1")
    with ExitStack() as stack:
        device = stack.enter_context(mounts.loop(host))
        inside = stack.enter_context(mounts.mounted(device, folder / "host"))
        image = inside / "disk.img"
        mounts.make_image(image, _DISK_BYTES, "mkfs.ext4", "-q", "-E", "lazy_itable_init=0")
        device = stack.enter_context(mounts.loop(image))
        yield Disk(stack.enter_context(mounts.mounted(device, folder / "disk", *_LAZY)), image)
