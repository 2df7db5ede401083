"""Damaged and hostile GGUF files: each is a `FormatError`, and nothing else."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from quantkit.errors import FormatError
from quantkit.gguf import GGUFFile
from quantkit.tasks.info import info

UINT8, UINT32, BOOL, STRING, ARRAY, UINT64 = 0, 4, 7, 8, 9, 10
F32, Q4_K = 0, 12


def u32(*values: int) -> bytes:
    """Numbers of 4 bytes."""
    return struct.pack(f"<{len(values)}I", *values)


def u64(*values: int) -> bytes:
    """Numbers of 8 bytes."""
    return struct.pack(f"<{len(values)}Q", *values)


def text(value: str | bytes) -> bytes:
    """A string."""
    raw = value.encode() if isinstance(value, str) else value
    return u64(len(raw)) + raw


def field(key: str | bytes, kind: int, value: bytes) -> bytes:
    """A metadata entry."""
    return text(key) + u32(kind) + value


def tensor(
    name: str | bytes = "t", dims: tuple[int, ...] = (8,), kind: int = F32, at: int = 0
) -> bytes:
    """A tensor entry; `dims` in the order of the file."""
    return text(name) + u32(len(dims)) + u64(*dims) + u32(kind) + u64(at)


def gguf(
    *entries: bytes,
    tensors: tuple[bytes, ...] = (),
    data: int = 0,
    alignment: int = 32,
    version: int = 3,
) -> bytes:
    """A file of metadata entries, tensor entries and `data` bytes of tensor data."""
    counts = u64(len(tensors), len(entries))
    head = b"GGUF" + u32(version) + counts + b"".join((*entries, *tensors))
    return head + bytes(-len(head) % alignment) + bytes(data)


VALID = gguf(
    field("general.architecture", STRING, text("llama")),
    field("general.alignment", UINT32, u32(64)),
    field("llama.context_length", UINT64, u64(512)),
    field("flag", BOOL, b"\1"),
    field("tokens", ARRAY, u32(STRING) + u64(3) + text("a") + text("") + text("bc")),
    field("types", ARRAY, u32(UINT32) + u64(3) + u32(1, 2, 3)),
    field("flags", ARRAY, u32(BOOL) + u64(2) + b"\0\1"),
    field(
        "arrays", ARRAY, u32(ARRAY) + u64(2) + (u32(STRING) + u64(1) + text("x")) * 2
    ),
    tensors=(
        tensor("a", (8, 2)),
        tensor("b", (256, 1, 1, 1), Q4_K, 64),
        tensor("c", (), F32, 256),
    ),
    data=256 + 4,
    alignment=64,
)


def read_everything(path: Path) -> None:
    """Open a file and look at all its values and tensors."""
    with GGUFFile(path) as file:
        for item in file.metadata.values():
            if item.item_type is not None:
                list(item.value)
        for each in file.tensors.values():
            each.read(0, each.n_rows).sum()
    info(path).to_dict()


def test_valid_file_is_read(tmp_path: Path) -> None:
    """The file that the other tests damage is a good one."""
    path = tmp_path / "m.gguf"
    path.write_bytes(VALID)
    read_everything(path)
    with GGUFFile(path) as file:
        assert list(file.tensors) == ["a", "b", "c"]


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    """A file cut anywhere is refused, with a message that names it."""
    path = tmp_path / "cut.gguf"
    for size in range(len(VALID)):
        path.write_bytes(VALID[:size])
        with pytest.raises(FormatError, match=r"cut\.gguf: "):
            GGUFFile(path)


TWO_TO_63 = 1 << 63
MAX_U64 = (1 << 64) - 1

HOSTILE = {
    "empty": (b"", "is empty"),
    "text": (b"Once upon a time there was", "not a GGUF file: it starts with b'Once'"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "html": (b"<!DOCTYPE html>", "web page"),
    "ggml": (b"tjgg\3\0\0\0", "GGML file from before GGUF"),
    "version 1": (gguf(version=1), "version 1 GGUF"),
    "version 4": (gguf(version=4), "version 4 GGUF"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "many tensors": (
        b"GGUF" + u32(3) + u64(MAX_U64, 0),
        "tensors are declared at byte 24, but only 0 bytes",
    ),
    "many fields": (
        b"GGUF" + u32(3) + u64(0, MAX_U64),
        "entries are declared at byte 24, but only 0 bytes",
    ),
    "key length": (gguf(u64(MAX_U64) + bytes(32)), "metadata key 0 at byte 32"),
    "key empty": (gguf(field("", UINT8, b"\1")), "metadata key 0 is empty"),
    "key twice": (gguf(*[field("k", UINT8, b"\1")] * 2), "'k' appears twice"),
    "key not UTF-8": (gguf(field(b"\xff", UINT8, b"\1")), "is not UTF-8"),
    "value type": (gguf(field("k", 13, bytes(8))), "type of metadata 'k' is 13"),
    "item type": (
        gguf(field("k", ARRAY, u32(99) + u64(0))),
        "item type of metadata 'k' is 99",
    ),
    "bool": (gguf(field("k", BOOL, b"\2")), "expected 0 or 1"),
    "bool array": (
        gguf(field("k", ARRAY, u32(BOOL) + u64(2) + b"\1\xff")),
        "'k' is 255; expected 0 or 1",
    ),
    "string length": (
        gguf(field("k", STRING, u64(1000) + b"a")),
        "metadata 'k' at byte .* needs 1000 bytes",
    ),
    "array length": (
        gguf(field("k", ARRAY, u32(UINT32) + u64(MAX_U64))),
        "metadata 'k' at byte .* needs",
    ),
    "string array length": (
        gguf(field("k", ARRAY, u32(STRING) + u64(TWO_TO_63))),
        "strings of metadata 'k' are declared",
    ),
    "string in array": (
        gguf(field("k", ARRAY, u32(STRING) + u64(2) + text("a") + u64(MAX_U64))),
        "string 1 of metadata 'k' extends beyond the end",
    ),
    "deep arrays": (
        gguf(field("k", ARRAY, (u32(ARRAY) + u64(1)) * 100_000)),
        "'k' has arrays in arrays, more than 16 deep",
    ),
    "many arrays": (
        gguf(field("k", ARRAY, u32(ARRAY) + u64(1) + u32(ARRAY) + u64(TWO_TO_63))),
        "arrays of metadata 'k' are declared",
    ),
    "alignment type": (
        gguf(field("general.alignment", UINT64, u64(32))),
        "general.alignment is a UINT64",
    ),
    "alignment 0": (
        gguf(field("general.alignment", UINT32, u32(0))),
        "general.alignment is 0",
    ),
    "alignment 48": (
        gguf(field("general.alignment", UINT32, u32(48))),
        "general.alignment is 48",
    ),
    "alignment 2**31": (
        gguf(field("general.alignment", UINT32, u32(1 << 31))),
        "general.alignment is 2147483648",
    ),
    "half a block": (
        gguf(tensors=(tensor(dims=(), kind=Q4_K),), data=144),
        "a row of 1 weights is not a multiple of Q4_K",
    ),
    "zeros for tensors": (
        b"GGUF" + u32(3) + u64(1 << 20, 0) + bytes(24 << 20),
        "tensor name '' appears twice",
    ),
    "many dimensions": (
        gguf(tensors=(text("t") + u32(1 << 31) + bytes(32),), data=32),
        "2147483648 dimensions",
    ),
    "overflowing shape": (
        gguf(tensors=(tensor(dims=(1 << 32, 1 << 32)),), data=32),
        "'t' has the impossible shape",
    ),
    "shape that overflows to a small size": (
        gguf(tensors=(tensor(dims=(1 << 62, 4)),), data=32),
        "'t' has the impossible shape",
    ),
    "overflow behind a zero": (
        gguf(tensors=(tensor(dims=(0, TWO_TO_63, TWO_TO_63)),), data=32),
        "'t' has the impossible shape",
    ),
    "row of half a block": (
        gguf(tensors=(tensor(dims=(128, 2), kind=Q4_K),), data=144),
        "a row of 128 weights is not a multiple of Q4_K",
    ),
    "unknown type": (
        gguf(tensors=(tensor(kind=4),), data=32),
        "'t': type number 4 is not one that quantkit knows",
    ),
    "PrismML's types": (
        gguf(tensors=(tensor(dims=(128, 2), kind=142),), data=68),
        "'t': type number 142 is PQ2_0 of PrismML's .*Hadamard",
    ),
    "PrismML's other type": (
        gguf(tensors=(tensor(dims=(128, 2), kind=143),), data=56),
        "'t': type number 143 is PTQ1_0 of PrismML's .*Hadamard",
    ),
    "name twice": (gguf(tensors=(tensor(), tensor(at=32)), data=64), "appears twice"),
    "name not UTF-8": (gguf(tensors=(tensor(b"\xc3("),), data=32), "is not UTF-8"),
    "offset not aligned": (
        gguf(tensors=(tensor(at=4),), data=64),
        "'t' is at offset 4, not a multiple of the alignment 32",
    ),
    "offset beyond the end": (
        gguf(tensors=(tensor(at=MAX_U64 - 31),), data=32),
        "'t' ends at byte",
    ),
    "tensor beyond the end": (
        gguf(tensors=(tensor(dims=(9,)),), data=32),
        "'t' ends at byte 100, but the file has 96 bytes; .* download is incomplete",
    ),
    "data missing": (gguf(tensors=(tensor(),)), "'t' ends at byte"),
    "same bytes": (gguf(tensors=(tensor("a"), tensor("b")), data=32), "overlap"),
    "overlapping by a part": (
        gguf(tensors=(tensor("b", at=32), tensor("a", (16,))), data=64),
        "tensors 'a' and 'b' overlap",
    ),
    "split without a number": (
        gguf(field("split.count", UINT32, u32(3))),
        "split.no is missing",
    ),
}


@pytest.mark.parametrize(("raw", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_file_is_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    """Each fault has a message that names the file and the fault, in one line."""
    path = tmp_path / "bad.gguf"
    path.write_bytes(raw)
    with pytest.raises(FormatError, match=rf"bad\.gguf.*{message}") as caught:
        GGUFFile(path)
    assert "\n" not in str(caught.value)


def survives(path: Path, raw: bytes | bytearray) -> bool:
    """Whether a file can be read; any error but `FormatError` is the test's failure."""
    path.write_bytes(raw)
    try:
        read_everything(path)
    except FormatError:
        return False
    return True


@pytest.mark.parametrize("value", [0x00, 0x01, 0x7F, 0x80, 0xFF])
def test_any_damaged_byte_is_survived(tmp_path: Path, value: int) -> None:
    """With any one byte replaced, a file is read or refused, and never crashes."""
    raw = bytearray(VALID)
    outcomes = []
    for i, original in enumerate(VALID):
        raw[i] = value
        outcomes.append(survives(tmp_path / "m.gguf", raw))
        raw[i] = original
    assert set(outcomes) == {True, False}


def test_random_damage_is_survived(tmp_path: Path) -> None:
    """Bytes replaced, removed, inserted and doubled at random are survived."""
    rng = random.Random(20240601)
    for _ in range(2000):
        raw = bytearray(VALID)
        for _ in range(rng.randint(1, 4)):
            i, j = sorted(rng.sample(range(len(raw)), 2))
            match rng.randrange(4):
                case 0:
                    raw[i] ^= 1 << rng.randrange(8)
                case 1:
                    del raw[i : min(j, i + 16)]
                case 2:
                    raw[i:i] = rng.randbytes(rng.choice((1, 4, 8)))
                case _:
                    raw[i : i + 8] = u64(
                        rng.choice((0, 1, MAX_U64, TWO_TO_63, 1 << 32))
                    )
        survives(tmp_path / "m.gguf", raw)
