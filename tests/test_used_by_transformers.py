"""transformers reads our files: their weights, tokenizer and chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit import Model

from .users.made_files import MESSAGES, PROMPT, Made, make_files

pytestmark = pytest.mark.interop

CLOSE = 1e-5
"""What the order of f32 sums may change, as a share of the logits' range."""


@pytest.fixture(scope="module")
def transformers() -> Any:
    pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("gguf", reason="needs gguf")
    pytest.importorskip("accelerate", reason="needs accelerate")
    return pytest.importorskip("transformers", reason="needs transformers")


@pytest.fixture(scope="module")
def made(transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_files(tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize("name", ["F16", "Q4_K_M", "IQ4_XS", "Q4_0-calibrated"])
def test_logits_are_those_of_our_weights(
    name: str, made: Made, transformers: Any
) -> None:
    """It dequantizes the file; activations are f32 on both sides."""
    import torch

    path: Path = made.files[name]
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    with torch.no_grad():
        theirs = model(torch.tensor([made.prompt])).logits[0].numpy()
    ours = Model.open(path).logits(made.prompt)
    assert np.abs(ours - theirs).max() <= CLOSE * np.ptp(theirs)


def test_the_tokenizer_and_its_template_survive(made: Made, transformers: Any) -> None:
    """Tokens of a text, and those of rendered messages."""
    path = made.files["Q4_K_M"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        path.parent, gguf_file=path.name
    )
    assert tokenizer(PROMPT)["input_ids"] == made.prompt
    rendered = tokenizer.apply_chat_template(
        MESSAGES, tokenize=False, add_generation_prompt=True
    )
    assert rendered == made.rendered
