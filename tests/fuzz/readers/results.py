"""Importance matrices, recipes, saved scores and journals."""

from __future__ import annotations

import json
import struct
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np

from quantkit._version import __version__
from quantkit.collecting.sharding import merge_imatrix_shards
from quantkit.evaluate.merging import merge_shards
from quantkit.evaluate.saved import SavedScores
from quantkit.gguf.keys import ValueType, array, string, uint32
from quantkit.importance import ImportanceMatrix
from quantkit.output.journal import Journal
from quantkit.recipes.files import read_recipe
from quantkit.recipes.overrides import TensorType
from quantkit.sources.edits import parse_field, parse_layers
from quantkit.types import QuantType

from ..bases import gguf_bytes
from ..damage import Tensor
from .registry import attempt, reader


def _imatrix() -> bytes:
    tensors: dict[str, Tensor] = {}
    for name, shape in (("a.weight.in_sum2", (2, 3)), ("a.weight.counts", (2, 1))):
        values = np.full(shape, 2, np.float32)
        tensors[name] = (shape, QuantType.F32, values.view(np.uint8))
    fields = {
        "general.type": string("imatrix"),
        "imatrix.datasets": array(ValueType.STRING, ["x"]),
        "imatrix.chunk_count": uint32(2),
        "imatrix.chunk_size": uint32(8),
    }
    return gguf_bytes(fields, tensors)


LEGACY = struct.pack("<ii8siifff", 1, 8, b"a.weight", 4, 3, 1, 2, 3)


@reader(_imatrix(), LEGACY, LEGACY + struct.pack("<ii1s", 2, 1, b"x"))
def imatrix(data: bytes, folder: Path) -> None:
    """An importance matrix, as a GGUF and as a .dat file."""
    for name in ("m.gguf", "m.dat"):
        (folder / name).write_bytes(data)

        def read(path: Path = folder / name) -> None:
            found = ImportanceMatrix.load(path)
            found.importance()
            found.statistics()
            found.save(folder / "again.gguf")

        attempt(read)


RECIPE = b"""base = "Q4_K_M"
pure = false
output_tensor_type = "Q8_0"
tensor_types = [{ pattern = "blk.[01].ffn", type = "Q6_K" }]
[types]
a = "Q4_K"
"""


@reader(RECIPE, b"x = " + b"[" * 100, b"attn_v=Q8_0", b"a.b=int:7", b"1,3-5")
def recipe(data: bytes, folder: Path) -> None:
    """A recipe file, and what is written on the command line."""
    path = folder / "r.toml"
    path.write_bytes(data)
    attempt(partial(read_recipe, path))
    given = data.decode("utf-8", "replace")
    for parse in (parse_field, parse_layers):
        attempt(partial(parse, given))
    attempt(lambda: TensorType.parse(given).matches("blk.0.attn_q" * 9))


def _with_checksum(line: bytes) -> bytes:
    body = line.partition(b" ")[2]
    return b"%08x %s\n" % (crc32(body), body)


RECORDS = (
    b'b68d2e0a {"key": "a", "seconds": 1.0, "nll": "", "kld": "", "same_top": ""}\n'
)

ROW = {"name": "F32", "type": "F32", "size_bytes": 9, "bpw": 32.0, "fallbacks": []}
ABOUT = {
    "shard": [1, 1],
    "of": {"the version of quantkit": __version__},
    "described": {
        "model": "m",
        "ctx": 8,
        "stride": None,
        "n_scored": 1,
        "activations": "i16",
        "texts": [{"name": "t", "chunks": 1}],
        "rows": [ROW],
        "on_grid": [],
        "weighed": [],
        "calibrated": [],
    },
    "keys": [["a", "b"]],
    "command": None,
}
ONE_TOKEN = {
    "nll": "AAAAAAAA8D8=",
    "kld": "AAAAAAAAAAA=",
    "same_top": "AQ==",
    "rank": "AA==",
}
SHARD = b"".join(
    _with_checksum(b" " + json.dumps(record).encode())
    for record in (
        {"key": "shard", "about": ABOUT},
        {"key": "b", "seconds": 1.0, **ONE_TOKEN},
    )
)


@reader(RECORDS, SHARD, b"")
def saved(data: bytes, folder: Path) -> None:
    """Saved scores, shards, and the journal of a stopped run, with right sums."""
    lines = b"".join(_with_checksum(line) for line in data.split(b"\n"))
    path = folder / "r.json.scores"
    for content in (data, lines):
        path.write_bytes(content)

        def scores() -> None:
            with SavedScores(path) as found:
                for key in ("a", "b"):
                    found.scores(key)
                    found.seconds(key)

        attempt(partial(merge_shards, path))
        attempt(scores)
        (folder / ".m.gguf.journal").write_bytes(content)

        def journal() -> None:
            with Journal(folder / "m.gguf", {"model": "x"}, []) as found:
                while found.next() is not None:
                    pass

        attempt(journal)


SUMS = {
    "of": "",
    "tensors": [["a", 1, 2, 0], ["b", 1, 2, 0]],
    "terms": [1],
    "shard": {
        "shard": [1, 1],
        "of": {"the version of quantkit": __version__},
        "chunks": 1,
        "described": {"ctx": 8, "texts": ["t"], "activations": "i16", "device": "cpu"},
        "command": None,
    },
}


@reader(json.dumps(SUMS).encode(), b"{}", b"PK\3\4" + bytes(26) + b"about.npy")
def sums(data: bytes, folder: Path) -> None:
    """A shard of an importance matrix: what describes it, and the whole file."""
    path = folder / "1.shard"
    path.write_bytes(data)
    attempt(partial(merge_imatrix_shards, path))
    values = np.frombuffer((data + bytes(32))[-32:], np.float64)
    about, counts, nll = np.frombuffer(data, np.uint8), np.ones(2, np.int64), [[1.0]]
    with path.open("wb") as file:
        np.savez(file, about=about, sums=values, counts=counts, nll=np.array(nll))
    attempt(partial(merge_imatrix_shards, path))
    raw = bytearray(path.read_bytes())
    raw[len(data) * 7 % len(raw)] ^= 1
    path.write_bytes(raw)
    attempt(partial(merge_imatrix_shards, path))
