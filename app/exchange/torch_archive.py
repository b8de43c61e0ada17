"""The zip archive of torch.save, read so that no file can run code or take memory.

Note [Looked at before it is loaded]
    `weights_only=True` runs no code of the file's, but it still builds what the file names: a
    sparse tensor of 4 TiB, a `bytearray` of any size, a tensor of 2**40 elements over one stored
    number. So the archive's index and the names in its pickle are checked first, and every
    tensor's storage after, before anything touches the values.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator

import torch

from app.config import MAX_WIDTH
from app.errors import ArtifactInvalid
from app.exchange.imported_layer import check_folded, incompatible
from app.types import NamedArrays

_HOW = "write it with torch.save(layer.state_dict(), path)"
_MAX_PICKLE_BYTES = 1 << 20
_NAMES = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor_v2|parameter)|torch \w+Storage"
)
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def read_archive(content: bytes) -> NamedArrays:
    """The tensors of a state_dict by name; bfloat16 becomes float32.

    Raises:
        ArtifactInvalid: damaged, or not a state_dict of plain tensors.
    """
    _check_names(_pickle(content))
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch names no set of errors for a damaged file
        raise ArtifactInvalid(f"the file is damaged or no state_dict; {_HOW}") from error
    if not isinstance(loaded, dict) or not all(isinstance(name, str) for name in loaded):
        raise incompatible(f"expected a state_dict, tensors by name; {_HOW}")
    check_folded(loaded)  # first: torch's own buffers beside such a tensor are not plain either
    for name, value in loaded.items():
        check_plain(name, value)
    return {
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
        for name, tensor in loaded.items()
    }


def check_plain(name: str, value: object) -> None:
    """Refuses what is not a contiguous float tensor with exactly its own storage.

    Raises:
        ArtifactInvalid: `artifact_incompatible`.
    """
    if not isinstance(value, torch.Tensor):
        raise incompatible(f"expected a tensor as {name[:64]!r}, got another object; {_HOW}")
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_nested:
        raise incompatible(f"expected a dense tensor as {name[:64]!r}; call to_dense() and save")
    if value.dtype not in _DTYPES:
        raise incompatible(
            f"expected float32, float16, bfloat16 or float64 as {name[:64]!r}, got {value.dtype}"
        )
    shape = tuple(value.shape)
    if not all(1 <= size <= MAX_WIDTH for size in shape):
        raise incompatible(
            f"expected sizes from 1 to {MAX_WIDTH} for {name[:64]!r}, got shape {shape}"
        )
    stored = value.untyped_storage().nbytes()
    if not value.is_contiguous() or value.is_neg() or stored != value.numel() * value.itemsize:
        raise incompatible(
            f"expected {name[:64]!r} of shape {shape} to be contiguous in a storage of its own, "
            f"got a view of {stored} stored bytes (transposed, sliced or expanded); "
            "take tensor.contiguous().clone() before torch.save"
        )


def _pickle(content: bytes) -> bytes:
    """The pickle inside, when the archive is as torch.save writes it."""
    if not content.startswith(b"PK\x03\x04"):
        raise ArtifactInvalid(f"expected a zip archive, got another or an older format; {_HOW}")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_entries(entries, len(content))
            (pickle,) = (entry for entry in entries if entry.filename.endswith("/data.pkl"))
            if pickle.file_size > _MAX_PICKLE_BYTES:
                raise ArtifactInvalid(f"expected a small state_dict; {_HOW}")
            return archive.read(pickle)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError) as error:
        raise ArtifactInvalid(f"the archive is damaged or not torch's; {_HOW}") from error


def _check_entries(entries: list[zipfile.ZipInfo], num_bytes: int) -> None:
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise incompatible(f"expected a state_dict, got a TorchScript program; {_HOW}")
    compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if compressed or sum(entry.file_size for entry in entries) > num_bytes:
        raise ArtifactInvalid(f"expected an archive without compression; {_HOW}")


def _check_names(pickle: bytes) -> None:
    try:
        named = list(_globals(pickle))
    except Exception as error:  # pickletools names no set of errors for a damaged pickle
        raise ArtifactInvalid(f"the archive is damaged; {_HOW}") from error
    for name in named:
        if not _NAMES.fullmatch(name):
            raise incompatible(
                f"expected a state_dict of plain tensors, found {name[:64]!r}; {_HOW}"
            )


def _globals(pickle: bytes) -> Iterator[str]:
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name == "GLOBAL":
            yield str(argument)
        elif opcode.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
            yield opcode.name
