"""llama.cpp loads the encoders that `mmproj=True` writes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import quantkit
from quantkit.gguf.reader import GGUFFile

from .families.checkpoints import weights, write_checkpoint
from .projectors.all_cases import CASES
from .projectors.cases import TEXT, ProjectorCase
from .projectors.shapes import Shapes, layers
from .projectors.shapes import weights as shapes_of
from .projectors.stored import checkpoint
from .users.made_files import interpreter

pytestmark = pytest.mark.reference

RUNNER = Path(__file__).parent / "projectors" / "load_llamacpp.py"
DEMO = Path(quantkit.__file__).parent / "data" / "demo" / "model"
NOT_LOADED = {
    **dict.fromkeys(
        ("qwen3vl", "qwen3-omni", "granite-vision"),
        "wants a text model that takes the outputs of several layers",
    ),
    **dict.fromkeys(
        ("minicpm-v", "minicpm-v-4x"), "merges patches after layer 6 of every model"
    ),
}
"""Case -> why llama.cpp does not load it beside the tiny text model."""
NOT_HEARD = ("gemma3n-vision",)
"""Of these llama.cpp reads only the encoder of images."""


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text model as wide as those of the cases, with a tokenizer."""
    folder = tmp_path_factory.mktemp("text")
    config = json.loads((DEMO / "config.json").read_text()) | {
        key: TEXT[key] for key in TEXT if key != "vocab_size"
    }
    width, n_tokens = config["hidden_size"], config["vocab_size"]
    inner, n_kv = config["intermediate_size"], width // 2
    layer = {
        **{f"self_attn.{part}_proj": (width, width) for part in "qo"},
        **{f"self_attn.{part}_proj": (n_kv, width) for part in "kv"},
        "mlp.gate_proj": (inner, width),
        "mlp.up_proj": (inner, width),
        "mlp.down_proj": (width, inner),
        "input_layernorm": (width,),
        "post_attention_layernorm": (width,),
    }
    shapes: Shapes = {
        "model.embed_tokens.weight": (n_tokens, width),
        "lm_head.weight": (n_tokens, width),
        "model.norm.weight": (width,),
        **layers("model.layers.", 1, shapes_of(layer)),
    }
    write_checkpoint(folder, config, weights(shapes))
    for file in DEMO.glob("tokenizer*"):
        shutil.copy(file, folder)
    quantkit.convert(folder, folder / "text.gguf", "f16")
    return folder / "text.gguf"


def cases() -> list[object]:
    """The cases, those that are not loaded as expected failures."""
    return [
        pytest.param(
            case,
            id=case.name,
            marks=pytest.mark.xfail(reason=f"llama.cpp {NOT_LOADED[case.name]}")
            if case.name in NOT_LOADED
            else (),
        )
        for case in CASES
    ]


@pytest.mark.parametrize("case", cases())
def test_llama_cpp_loads_the_file(
    case: ProjectorCase, text_model: Path, tmp_path: Path
) -> None:
    """And says of it that it sees or hears, as the metadata do."""
    python = interpreter("QUANTKIT_LLAMACPP_PYTHON", "llama_cpp")
    file = tmp_path / "mmproj.gguf"
    quantkit.convert(checkpoint(case, tmp_path), file, "f16", mmproj=True)
    with GGUFFile(file) as written:
        sees, hears = (
            f"clip.has_{what}_encoder" in written.metadata
            for what in ("vision", "audio")
        )
    command = [python, str(RUNNER), str(file), str(text_model)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    hears = hears and case.name not in NOT_HEARD
    assert done.stdout.split() == [str(sees), str(hears)]
