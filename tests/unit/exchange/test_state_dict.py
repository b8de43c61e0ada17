from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from app.errors import ArtifactInvalid
from app.exchange import read_state_dict
from app.exchange.torch_archive import check_plain
from tests.unit.exchange.examples import Gadget, pickled, repacked, save, zipped

LINEAR = torch.nn.Linear(3, 2)
MATRIX = LINEAR.weight.detach().numpy()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".PT"])
def test_a_linear_layers_state_dict_is_read(tmp_path: Path, suffix: str) -> None:
    layer = read_state_dict(save(tmp_path / f"layer{suffix}", LINEAR.state_dict()))
    assert (layer.key, layer.n_components, layer.input_size) == ("weight", 2, 3)
    assert layer.bias is not None
    np.testing.assert_array_equal(layer.Q_reduced, MATRIX)
    np.testing.assert_array_equal(layer.bias, LINEAR.bias.detach().numpy())


def test_a_module_prefix_is_accepted_and_the_key_is_said(tmp_path: Path) -> None:
    stack = torch.nn.Sequential(torch.nn.Linear(3, 2, bias=False))
    layer = read_state_dict(save(tmp_path / "layer.pt", stack.state_dict()))
    assert (layer.key, layer.bias) == ("0.weight", None)


def test_a_dict_of_parameters_is_read_like_a_state_dict(tmp_path: Path) -> None:
    layer = read_state_dict(save(tmp_path / "layer.pt", {"Q_reduced": LINEAR.weight}))
    np.testing.assert_array_equal(layer.Q_reduced, MATRIX)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_every_float_dtype_becomes_float32(tmp_path: Path, suffix: str, dtype: torch.dtype) -> None:
    stored = {"Q_reduced": LINEAR.weight.detach().to(dtype)}
    path = tmp_path / f"layer{suffix}"
    save(path, stored) if suffix == ".pt" else save_file(stored, path)
    read = read_state_dict(path).Q_reduced
    np.testing.assert_array_equal(read, stored["Q_reduced"].float().numpy())


def legacy(path: Path) -> None:
    torch.save({"Q": LINEAR.weight}, path, _use_new_zipfile_serialization=False)


def whole_module(path: Path) -> None:
    torch.save(LINEAR, path)


def plain_pickle(path: Path) -> None:
    path.write_bytes(pickled({"Q": Gadget(os.mkdir, f"{path}.ran")}))


def gadget(path: Path) -> None:
    repacked(
        save(path, LINEAR.state_dict()),
        {"data.pkl": pickled({"Q": Gadget(os.mkdir, f"{path}.ran")})},
    )


def gadget_of_protocol_4(path: Path) -> None:
    torch.save({"Q": Gadget(os.mkdir, f"{path}.ran")}, path, pickle_protocol=4)


def torch_script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"layer/{name}", b"3\n")


def truncated(path: Path) -> None:
    save(path, LINEAR.state_dict())
    path.write_bytes(path.read_bytes()[:-200])


def other_zip(path: Path) -> None:
    path.write_bytes(zipped({"word/document.xml": b"<xml/>"}))


def two_pickles(path: Path) -> None:
    path.write_bytes(zipped({"a/data.pkl": b"", "b/data.pkl": b""}))


def bomb(path: Path) -> None:
    save(path, LINEAR.state_dict())
    repacked(path, {"data/0": bytes(100_000)}, compression=zipfile.ZIP_DEFLATED)


def huge_bytearray(path: Path) -> None:
    repacked(
        save(path, LINEAR.state_dict()), {"data.pkl": pickled({"Q": Gadget(bytearray, 1 << 40)})}
    )


def long_pickle(path: Path) -> None:
    repacked(save(path, LINEAR.state_dict()), {"data.pkl": bytes(2 << 20)})


def broken_pickle(path: Path) -> None:
    repacked(save(path, LINEAR.state_dict()), {"data.pkl": b"\x80\x02}q\x00X\xff"})


def sparse(rows: int, columns: int) -> torch.Tensor:
    first = torch.zeros(2, 1, dtype=torch.int64)
    return torch.sparse_coo_tensor(first, torch.ones(1), (rows, columns), check_invariants=True)


def sparse_4_tib(path: Path) -> None:
    torch.save({"Q": sparse(1 << 20, 1 << 20)}, path)


def stride_0(path: Path) -> None:
    torch.save({"Q": torch.ones(1).as_strided((1 << 20, 1 << 20), (0, 0))}, path)


def small_stride_0(path: Path) -> None:
    torch.save({"Q": torch.ones(1).as_strided((2, 3), (0, 0))}, path)


def slice_of_more(path: Path) -> None:
    torch.save({"Q": torch.ones(10, 3)[:2]}, path)


def transposed(path: Path) -> None:
    torch.save({"Q": torch.ones(3, 2).T}, path)


def widening(path: Path) -> None:
    torch.save({"Q": torch.ones(3, 2)}, path)


def with_counter(path: Path) -> None:
    torch.save({"Q": LINEAR.weight, "steps": 3}, path)


def integers(path: Path) -> None:
    torch.save({"Q": torch.ones(2, 3, dtype=torch.int64)}, path)


def meta(path: Path) -> None:
    torch.save({"Q": torch.ones(2, 3, device="meta")}, path)


def a_list(path: Path) -> None:
    torch.save([LINEAR.weight], path)


def not_a_layer(path: Path) -> None:
    torch.save({"kernel": LINEAR.weight}, path)


BAD: dict[Callable[[Path], None], str] = {
    legacy: "older format",
    plain_pickle: "older format",
    whole_module: "torch.nn.modules.linear Linear",
    gadget: "posix mkdir",
    gadget_of_protocol_4: "STACK_GLOBAL",
    torch_script: "TorchScript",
    truncated: "damaged",
    other_zip: "damaged or not torch's",
    two_pickles: "damaged or not torch's",
    bomb: "without compression",
    huge_bytearray: "builtin",
    long_pickle: "small state_dict",
    broken_pickle: "damaged",
    sparse_4_tib: "_rebuild_sparse_tensor",
    stride_0: "1048576",
    small_stride_0: r"got a view of 4 stored bytes .*; take tensor\.contiguous\(\)\.clone\(\)",
    slice_of_more: "a storage of its own, got a view of 120 stored bytes",
    transposed: r"take tensor\.contiguous\(\)\.clone\(\) before torch\.save",
    widening: r"got shape \(3, 2\); is it transposed\?; the file holds 'Q'",
    with_counter: "'steps'",
    integers: "torch.int64",
    meta: "_rebuild_meta_tensor",
    a_list: "tensors by name",
    not_a_layer: r"the file holds 'kernel' \(2, 3\)",
}


@pytest.mark.parametrize(
    ("write", "found"), BAD.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_a_file_that_is_no_plain_state_dict_is_refused_and_runs_nothing(
    tmp_path: Path, write: Callable[[Path], None], found: str
) -> None:
    path = tmp_path / "layer.pt"
    write(path)
    with pytest.raises(ArtifactInvalid, match=found) as raised:
        read_state_dict(path)
    assert raised.value.detail.startswith("layer.pt: ")
    assert str(tmp_path) not in raised.value.detail
    assert list(tmp_path.iterdir()) == [path]


LIMITED_READER = """
import resource, sys
from pathlib import Path
import app.exchange
from app.errors import ArtifactInvalid

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), -1))
for name in sys.argv[1:]:
    try:
        app.exchange.read_state_dict(Path(name))
    except ArtifactInvalid as error:
        print(error.detail)
"""


def test_the_nasty_files_are_refused_within_64_mib(tmp_path: Path) -> None:
    writers = (sparse_4_tib, stride_0, huge_bytearray, bomb)
    paths = [tmp_path / f"{write.__name__}.pt" for write in writers]
    for write, path in zip(writers, paths, strict=True):
        write(path)
    refused = subprocess.run(
        [sys.executable, "-c", LIMITED_READER, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert [line.split(":")[0] for line in refused] == [path.name for path in paths]
    assert all("expected" in line for line in refused)


@pytest.mark.parametrize(
    "tensor",
    [
        sparse(2, 3),
        torch.ones(2, 3, device="meta"),
        torch.ones(2, 3, dtype=torch.complex64),
        torch._neg_view(torch.ones(2, 3)),
        torch.ones(2, 65_537),
        torch.ones(0, 3),
    ],
    ids=["sparse", "meta", "complex", "negative view", "wide", "empty"],
)
def test_a_tensor_that_is_not_plain_is_refused(tensor: torch.Tensor) -> None:
    with pytest.raises(ArtifactInvalid, match="'Q'"):
        check_plain("Q", tensor)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("layer.safetensors", b"GGUF\x03\0\0\0"),
        ("layer.safetensors", b"\xff" * 64),
        ("layer.safetensors", zipped({"layer/data.pkl": b""})),
        ("layer.safetensors", b""),
        ("layer.pt", b""),
        ("layer.onnx", b"anything"),
        ("layer", b"anything"),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactInvalid, match=name):
        read_state_dict(tmp_path / name)


def test_a_missing_file_a_folder_and_a_fifo_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(ArtifactInvalid, match="the file cannot be read: no such file"):
        read_state_dict(tmp_path / "missing.pt")
    for name in ("folder.pt", "pipe.pt"):
        with pytest.raises(ArtifactInvalid, match="regular file"):
            read_state_dict(tmp_path / name)


def test_every_truncation_of_an_archive_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "layer.pt", LINEAR.state_dict())
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtifactInvalid):
            read_state_dict(path)
