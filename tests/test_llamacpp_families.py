"""llama.cpp runs what quantkit writes, with the logits of our own forward pass.

Where both converters got a key or a tensor wrong, or GGUF cannot say what a model
needs, the files would be equal and yet not work: this finds it.  One run of
llama-cpp-python evaluates every case (families/run_llamacpp.py).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .families.cases import DECODERS, Case
from .families.runnable import write_runnable
from .families.stored import checkpoint, fixture, known_logits, logits_of

pytestmark = pytest.mark.reference

RUNNER = Path(__file__).parent / "families" / "run_llamacpp.py"

CLOSE = 1e-5
"""What the order of sums may change, as a share of the logits' range."""
GELU_CLOSE = 1e-3
"""llama.cpp looks GELU up by its argument in half precision, and has the approximation
with a hyperbolic tangent for both kinds; done so here, logits are within 6e-5."""
WITH_GELU = (
    "bloom",
    "codeshell",
    "falcon",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3n",
    "gemma4",
    "gpt2",
    "gptneox",
    "grok",
    "mpt",
    "phi2",
    "spark2_5",
    "starcoder",
    "starcoder2",
)
BOUNDS = {
    # Where activations are cut depends on their standard deviation, which it divides
    # by n - 1; 4e-5 if ours does too.
    "gemma3n": 2e-3,
    # YaRN's ramp starts and ends at whole pairs, which no key can change; 3e-7 if ours
    # does too.
    "gpt-oss": 1e-3,
    "gpt-oss-mxfp4": 2e-3,
}

DEPTHS = {
    "baichuan": 32,
    "baichuan-13b": 40,
    "command-r-plus": 64,
    "deepseek-v2-lite": 27,
    "exaone4": 64,
}
"""Layers by which llama.cpp tells variants of these architectures from each other."""

PHIMOE = "does not subtract means in norms, and has no sparsemixer"
DIFFERENT = {
    "deepseek-v2": "ranks groups by their two best experts, as V3 does",
    "dots3-note": "rotates the halves of the indexer's queries and keys, and not "
    "neighbouring components",
    "minimax-m3": "lets every query see everything if flash attention is off",
    "olmo3": "rotates layers with a window by the base of the others",
    "phi3": "lets every layer see everything",
    "phimoe": PHIMOE,
    "phimoe-long": PHIMOE,
    "qwen4exp": "chooses other keys in the version of llama-cpp-python 0.3.36; that of "
    "build 11434 chooses the same (test_llamacpp_perplexity.py)",
}
"""What llama.cpp computes otherwise than transformers, from its own files as well."""
REFUSED = {
    # It knows one rank of LAuReL, and one size of the inputs of layers.
    "gemma3n-shared": "wrong shape",
    # It does not load the biases.
    "ernie4.5": "wrong number of tensors",
    # The class has such models, and the converter writes them.
    "llama4-dense": "cannot have zero experts",
    # It has as many key heads as query heads.
    "olmoe-grouped": "wrong shape",
    # Whatever the key says, it wants queries as wide as the model of qwen2.
    "kormo": "wrong shape",
    # Its converter leaves out matrices that it wants.
    "cogvlm": "missing tensor",
    # The version of llama-cpp-python 0.3.36 does not load the layer that predicts
    # further tokens; build 11434 does (test_llamacpp_perplexity.py).
    "qwen4exp-published": "wrong number of tensors",
}
"""What it says of the cases that it cannot run."""
IMAGES = "writes over the scores of 8192 tokens of images, more than these models have"
ABORTED = {"chameleon": IMAGES, "chameleon-swin": IMAGES}
"""The cases at which its process ends."""


def parameters() -> list[Any]:
    """The cases: those that differ as expected failures, and no file that aborts."""
    marks = {
        name: pytest.mark.xfail(reason=f"llama.cpp {reason}", raises=AssertionError)
        for name, reason in DIFFERENT.items()
    } | {
        name: pytest.mark.skip(reason=f"llama.cpp {reason}")
        for name, reason in ABORTED.items()
    }
    return [
        pytest.param(case, id=case.name, marks=marks.get(case.name, ()))
        for case in DECODERS
    ]


def bound(case: Case) -> float:
    """How far logits may be apart, as a share of their range."""
    arch = fixture(case)["metadata"]["general.architecture"][1]
    return BOUNDS.get(case.name, GELU_CLOSE if arch in WITH_GELU else CLOSE)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what llama.cpp made of all cases."""
    python = os.environ.get("QUANTKIT_LLAMACPP_PYTHON")
    if python is None:
        pytest.skip("QUANTKIT_LLAMACPP_PYTHON names no interpreter")
    folder = tmp_path_factory.mktemp("llamacpp")
    for case in DECODERS:
        if case.name in ABORTED:
            continue
        own = tmp_path_factory.mktemp("case")
        n_tokens = known_logits(case)[1].shape[1]
        model = checkpoint(case, own, DEPTHS.get(case.name))
        write_runnable(model, n_tokens, folder / f"{case.name}.gguf")
        np.save(folder / f"{case.name}.npy", known_logits(case)[0])
    subprocess.run([python, RUNNER, folder], check=True)
    return folder


def refuse(case: Case, text: str) -> None:
    """End the test of a case that llama.cpp cannot run, failed unless that is known."""
    if case.name in REFUSED and REFUSED[case.name] in text:
        pytest.xfail(text)
    pytest.fail(text)


@pytest.mark.parametrize("case", parameters())
def test_llamacpp_computes_the_same(case: Case, results: Path, tmp_path: Path) -> None:
    """Logits of every token, all in f32."""
    messages = results / f"{case.name}.txt"
    if messages.exists():
        refuse(case, messages.read_text())
    folder = checkpoint(case, tmp_path, DEPTHS.get(case.name))
    expected = logits_of(folder, known_logits(case)[0])
    found = np.load(results / f"{case.name}.logits.npy")
    assert np.abs(found - expected).max() < bound(case) * np.ptp(expected)
