"""llama.cpp's hidden states and embeddings are ours, of all encoders and poolings."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.gguf.reader import GGUFFile
from quantkit.inference.weights import load_embedder, load_weights

from .families.cases import RUN, Case
from .families.lettered import lettered_model
from .families.stored import known_logits
from .test_llamacpp_families import CLOSE, GELU_CLOSE, RUNNER

pytestmark = pytest.mark.reference

POOLINGS = {"mean": 1, "cls": 2, "last": 3}
WITHOUT_GELU = (
    *(
        "eurobert",
        "lfm2-bidirectional",
        "lfm2-masked",
        "neo-bert",
        "neo-bert-classifier",
        "nomic-bert",
        "qwen2",
        "qwen3",
    ),
    "t5-encoder",
)
"""See `GELU_CLOSE`."""
EMBEDDERS = [
    case for case in RUN if not case.predicts_text or case.name in ("qwen2", "qwen3")
]


@pytest.fixture(scope="module", params=POOLINGS)
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """The pooling, and the folder of what llama.cpp made of all cases."""
    python = os.environ.get("QUANTKIT_LLAMACPP_PYTHON")
    if python is None:
        pytest.skip("QUANTKIT_LLAMACPP_PYTHON names no interpreter")
    pooling = request.param
    folder = tmp_path_factory.mktemp(pooling)
    for case in EMBEDDERS:
        lettered_model(case.name, folder, pooling=POOLINGS[pooling])
        np.save(folder / f"{case.name}.npy", known_logits(case)[0])
    subprocess.run([python, RUNNER, folder, "--embeddings"], check=True)
    return pooling, folder


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in EMBEDDERS])
def test_llamacpp_embeds_the_same(case: Case, results: tuple[str, Path]) -> None:
    """Of one text, all in f32."""
    pooling, folder = results
    tokens = known_logits(case)[0]
    with GGUFFile(folder / f"{case.name}.gguf") as file:
        embedder: Any = load_embedder(file, load_weights(file))
        assert embedder.pooling == pooling
        model = embedder if hasattr(embedder, "hidden") else embedder.decoder
        made = {"states": model.hidden(tokens), "pooled": embedder.pooled(tokens)}
    bound = CLOSE if case.name in WITHOUT_GELU else GELU_CLOSE
    for name, own in made.items():
        found = np.load(folder / f"{case.name}.{name}.npy")
        assert np.abs(found - own).max() < bound * np.ptp(own)
