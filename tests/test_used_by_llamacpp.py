"""llama.cpp writes the same text from our files as from llama-quantize's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantkit import Model

from .llamacpp_tools import tool
from .users.made_files import N_NEW, PROMPT, Made, greedy, interpreter, make_files

pytestmark = pytest.mark.interop

TIE = 3e-3
"""So close, as a share of the logits' range, another rounding of activations may swap
two tokens; 1.2e-3 occurs."""


@pytest.fixture(scope="module")
def python() -> str:
    return interpreter("QUANTKIT_LLAMACPP_PYTHON", "llama_cpp")


@pytest.fixture(scope="module")
def made(python: str, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_files(tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize("name", ["Q4_K_M", "IQ4_XS"])
def test_the_text_is_that_of_llama_quantizes_file(
    name: str, made: Made, python: str, tmp_path: Path
) -> None:
    """Greedily, token by token; the prompt has the same tokens as ours."""
    theirs = tmp_path / "theirs.gguf"
    tool("llama-quantize", made.files["F16"], theirs, name, 1)
    files = [made.files[name], theirs]
    ours, other = greedy(python, [(p, PROMPT, made.prompt) for p in files], tmp_path)
    assert ours == other
    assert ours["ids"] == made.prompt
    assert len(ours["next"]) == N_NEW


@pytest.mark.parametrize("name", ["F16", "Q4_0-calibrated"])
def test_the_text_is_what_quantkit_predicts(
    name: str, made: Made, python: str, tmp_path: Path
) -> None:
    """Every token has the highest of our logits, or as good as that."""
    path = made.files[name]
    (found,) = greedy(python, [(path, PROMPT, made.prompt)], tmp_path)
    tokens = found["next"]
    assert len(tokens) == N_NEW
    model = Model.open(path, activations="q8")
    logits = model.logits([*made.prompt, *tokens])[len(made.prompt) - 1 : -1]
    best, chosen = logits.max(axis=1), logits[np.arange(len(tokens)), tokens]
    assert np.all(best - chosen <= TIE * np.ptp(logits, axis=1))
    assert np.mean(best == chosen) > 0.9


def test_a_chat_is_tokenized_as_rendered(
    made: Made, python: str, tmp_path: Path
) -> None:
    """Control tokens of the template are tokens, also those in a message."""
    asked = [(made.files["Q4_K_M"], made.rendered, made.chat)]
    (found,) = greedy(python, asked, tmp_path)
    bos = made.prompt[0]
    assert found["ids"] == [bos, *made.chat]  # the tokenizer adds one more in front
