"""The memory that a model is said to take is what llama.cpp allocates."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from quantkit.choosing.memory import Runtime
from quantkit.sources.opening import open_source

from .families.cases import DECODERS, Case
from .families.runnable import write_runnable
from .families.stored import checkpoint, known_logits
from .test_llamacpp_families import ABORTED, DEPTHS, REFUSED

pytestmark = pytest.mark.reference

RUNNER = Path(__file__).parent / "families" / "memory_llamacpp.py"
N_CTX = 65536
"""So many that caches of tiny models are megabytes, of which llama.cpp tells 0.01."""
MIB = 1 << 20
ROUNDED = 0.03
"""What rounding to 0.01 MiB may add up to."""
DIFFERENT = {
    "bailing-moe-3-vl": "also keeps keys of the layer that predicts further tokens",
    "granite-switch": "also keeps keys of the layer that finds the adapter",
    "phi3": "gives no layer a window",
    "qwen4exp": "keeps no keys of blocks in the version of llama-cpp-python 0.3.36",
}
LARGER = {
    "deepseek4": "it also computes the vectors of windows",
    "minimax-m3": "its scores are those of each head",
    "minimax-01": "it copies the states",
    "phi3": "its masks are of all positions",
    "qwen4exp": "it scores keys one by one",
    **dict.fromkeys(
        ("rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"),
        "it holds the shifted inputs of all matrices of a layer at once",
    ),
}
"""Architecture -> why the compute buffers are larger than the estimate."""
NOT_LOADED = {
    **REFUSED,
    **dict.fromkeys(ABORTED, "it aborts"),
    # With flash attention, it writes values of another size than the cache has.
    "plm": "it aborts",
    # Its last message does not say "missing".
    "cogvlm": "not found",
}
"""Case -> what llama.cpp says when it does not load the file; see `REFUSED`."""


def parameters() -> list[Any]:
    """The cases, those that differ as expected failures."""
    marks = {
        name: pytest.mark.xfail(reason=f"llama.cpp {reason}", raises=AssertionError)
        for name, reason in DIFFERENT.items()
    }
    return [
        pytest.param(case, id=case.name, marks=marks.get(case.name, ()))
        for case in DECODERS
    ]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all cases, and of what llama.cpp allocates for each."""
    python = os.environ.get("QUANTKIT_LLAMACPP_PYTHON")
    if python is None:
        pytest.skip("QUANTKIT_LLAMACPP_PYTHON names no interpreter")
    folder = tmp_path_factory.mktemp("memory")
    for case in DECODERS:
        place = tmp_path_factory.mktemp("case")
        model = checkpoint(case, place, DEPTHS.get(case.name))
        n_tokens = known_logits(case)[1].shape[1]
        write_runnable(model, n_tokens, folder / f"{case.name}.gguf")
    command = [python, str(RUNNER), str(folder), str(N_CTX)]
    left = len(DECODERS)
    while subprocess.run(command, stderr=subprocess.DEVNULL).returncode and left:
        left -= 1
    return folder


@pytest.mark.parametrize("case", parameters())
def test_llamacpp_allocates_as_much(case: Case, measured: Path) -> None:
    """Keys and values, states; and no fewer compute buffers than nine tenths."""
    path = measured / f"{case.name}.gguf"
    sizes = json.loads(path.with_suffix(".json").read_text())
    if isinstance(sizes, str):
        assert NOT_LOADED.get(case.name, "a file that it loads") in sizes
        pytest.xfail(f"llama.cpp does not load it: {NOT_LOADED[case.name]}")
    assert case.name not in NOT_LOADED
    source = open_source(path)
    runtime = Runtime.of(source, N_CTX)
    assert abs(sizes.get("KV", 0) - runtime.cache / MIB) < ROUNDED
    states = sizes.get("RS", 0) + sizes.get("state", 0)
    assert abs(states - runtime.state / MIB) < ROUNDED
    if source.metadata["general.architecture"].value not in LARGER:
        few = sizes["compute"] < 4  # MiB; then small tensors count
        assert runtime.compute / MIB > (0.75 if few else 0.9) * sizes["compute"]
        assert runtime.compute / MIB < 1.25 * sizes["compute"]
