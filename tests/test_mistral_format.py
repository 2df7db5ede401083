"""Mistral's own files: tekken.json as vocabulary, params.json for config.json."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from sentencepiece import SentencePieceProcessor

from quantkit.checkpoint.folder import READ_BY_NAME, read_config
from quantkit.errors import CheckpointError, FormatError, QuantkitError
from quantkit.gguf.keys import Field
from quantkit.models.rope_config import ORIGINAL
from quantkit.vocab import tokenizer_fields
from quantkit.vocab.mistral_pieces import PIECE_FILES

from .conftest import FIXTURES
from .families.cases import CASES, Case
from .families.stored import checkpoint, source_of
from .field_hashes import hash_of
from .quantized import write_safetensors
from .tekken_files import MERGED, N_SPECIAL, SPECIAL, small_tekken, write_tekken

NATIVE, WITH_EXPERTS = (
    next(case for case in CASES if case.name == name)
    for name in ("mistral-native", "mistral-native-moe")
)
PIECES = FIXTURES / "vocabularies" / "spm" / "tokenizer.model"
LLAMA = {"architectures": ["MistralForCausalLM"]}
# What llama.cpp's converter (build 11434) makes of the small file, with mistral-common.
N_MERGES, MERGES = 18, "7aab8fcc17bf1ddb"
TOKENS, TYPES = "34d464979f3a12bb", "fa246d299aea4c3d"


def fields_of(folder: Path, content: Any, **config: Any) -> dict[str, Field]:
    """The fields of a folder with this tekken.json."""
    write_tekken(folder, content)
    return tokenizer_fields(folder, {**LLAMA, **config}, "llama")


def test_tekken_is_what_llamacpp_writes(tmp_path: Path) -> None:
    """Tokens, types, merges, ids and the name of the chat template."""
    fields = fields_of(tmp_path, small_tekken())
    made = {k.removeprefix("tokenizer.ggml."): field for k, field in fields.items()}
    assert made["model"].value == "gpt2"
    assert made["pre"].value == "tekken"
    assert len(made["merges"].value) == N_MERGES
    assert hash_of(made["merges"]) == MERGES
    assert hash_of(made["tokens"]) == TOKENS
    assert hash_of(made["token_type"]) == TYPES
    ids = ("bos", "eos", "unknown", "padding")
    assert [made[f"{kind}_token_id"].value for kind in ids] == [1, 2, 0, 11]
    assert made["add_bos_token"].value
    assert not made["add_eos_token"].value
    assert fields["tokenizer.chat_template"].value == "mistral-v3-tekken"


def test_later_versions_list_their_control_tokens(tmp_path: Path) -> None:
    """The rest are fillers; readers know no template of theirs by its name."""
    fields = fields_of(tmp_path, small_tekken("v11", SPECIAL))
    texts = fields["tokenizer.ggml.tokens"].value
    assert tuple(texts[: len(SPECIAL)]) == SPECIAL
    assert texts[N_SPECIAL - 1] == f"<SPECIAL_{N_SPECIAL - 1}>"
    assert "tokenizer.chat_template" not in fields
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    again = fields_of(tmp_path, small_tekken())
    assert again["tokenizer.chat_template"].value == "{{ messages }}"


def test_tokenizer_json_comes_first(tmp_path: Path) -> None:
    """As in llama.cpp's converter; without it, tekken.json."""
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(QuantkitError, match=r"tokenizer\.json"):
        fields_of(tmp_path, small_tekken())


def with_pieces(folder: Path, *names: str) -> dict[str, Field]:
    """The fields of a folder in Mistral's own format with such files."""
    for name in names:
        shutil.copy(PIECES, folder / name)
    return tokenizer_fields(folder, {"architectures": ["MistralNative"]}, "llama")


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("tokenizer.model", "mistral-v1"),
        ("tokenizer.model.v2", None),
        ("tokenizer.model.v3", "mistral-v3"),
        ("tokenizer.model.v7m1", "mistral-v7"),
    ],
)
def test_sentencepiece_models_have_a_version(
    name: str, template: str | None, tmp_path: Path
) -> None:
    """It is that of prompts; the keys are those of llama.cpp's converter."""
    fields = with_pieces(tmp_path, name)
    named = {} if template is None else {"tokenizer.chat_template": template}
    made = {k.removeprefix("tokenizer.ggml."): v.value for k, v in fields.items()}
    texts, scores, types = (made.pop(key) for key in ("tokens", "scores", "token_type"))
    assert made == {
        "model": "llama",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
        "padding_token_id": 2,
        "add_bos_token": True,
        "add_eos_token": False,
        **named,
    }
    model = SentencePieceProcessor(str(PIECES))
    assert list(texts) == [model.IdToPiece(i) for i in range(len(texts))]
    assert list(scores) == [model.GetScore(i) for i in range(len(texts))]
    assert [types[i] for i in range(3)] == [2, 3, 3]


def test_the_last_sentencepiece_model_counts(tmp_path: Path) -> None:
    """By its name, as in mistral-common; tekken.json comes before all."""
    made = with_pieces(tmp_path, "tokenizer.model.v3", "tokenizer.model.v7")
    assert made["tokenizer.chat_template"].value == "mistral-v7"
    size = len(made["tokenizer.ggml.tokens"].value)
    config = {"architectures": ["MistralNative"], "vocab_size": size + 1}
    with pytest.raises(CheckpointError, match=r"v7 has \d+ tokens, but params\.json"):
        tokenizer_fields(tmp_path, config, "llama")
    write_tekken(tmp_path, small_tekken())
    assert with_pieces(tmp_path)["tokenizer.ggml.pre"].value == "tekken"
    assert set(PIECE_FILES) <= set(READ_BY_NAME)


def broken(*path: Any, value: Any) -> Any:
    """The small file with a value changed."""
    content = small_tekken("v11", SPECIAL)
    inside = content
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "config is None"),
        (broken("config", "default_vocab_size", value=10**6), "expected at least"),
        (broken("config", "default_num_special_tokens", value=3), "control tokens"),
        (broken("config", "default_num_special_tokens", value=2**31 - 1), "at most"),
        (broken("vocab", value={}), "vocab is"),
        (broken("vocab", 3, value=7), r"vocab\[3\] is 7"),
        (broken("vocab", 3, "rank", value=4), r"vocab\[3\] is"),
        (broken("vocab", 3, "token_bytes", value="!"), r"vocab\[3\] is"),
        (broken("vocab", 258, "token_bytes", value="AA=="), r"vocab\[258\] is"),
        (broken("vocab", 258, "token_bytes", value="eHl6"), "no two tokens make"),
        (broken("special_tokens", 1, "rank", value=5), r"special_tokens\[1\]\.rank"),
        (broken("special_tokens", 1, "token_str", value="<b>"), "has no token '<s>'"),
        (broken("special_tokens", 1, value=None), r"special_tokens\[1\] is"),
    ],
)
def test_damaged_files_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    """By the place of what is wrong."""
    with pytest.raises(FormatError, match=message):
        fields_of(tmp_path, content)


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    """It has another number of tokens."""
    size = N_SPECIAL + 256 + len(MERGED)
    fields_of(tmp_path, small_tekken(), vocab_size=size)
    with pytest.raises(CheckpointError, match="different models"):
        fields_of(tmp_path, small_tekken(), vocab_size=size + 1)


def with_params(folder: Path, case: Case = NATIVE, **changed: Any) -> Path:
    """The case's folder with settings changed."""
    model = checkpoint(case, folder)
    path = model / "params.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    return model


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"moe": {"num_experts": 8}}, "params.json has moe.*no kv_lora_rank"),
        ({"moe": 1}, "params.json: moe is 1"),
        ({"yarn": {"factor": 2}}, "yarn.original_max_position_embeddings is None"),
        ({"llama_4_scaling": {"beta": -1}}, "llama_4_scaling.beta is -1"),
        ({"quantization": {"qformat_weight": "int4"}}, "qformat_weight: 'int4'"),
        ({"dim": "wide"}, "hidden_size is 'wide'"),
        ({"n_layers": None}, "lacks"),
        ({"causal": False}, "causal: False; readers of GGUF assume True"),
        ({"use_biases": True}, "use_biases: True; readers of GGUF assume False"),
        ({"rope_scaling": {"factor": 2.0}}, "rope_scaling: .* assume None"),
    ],
)
def test_other_settings_are_refused(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """By their names."""
    with pytest.raises(QuantkitError, match=message):
        _ = source_of(with_params(tmp_path, **changed)).model_fields


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"yarn": None}, "has llama_4_scaling, and no yarn"),
        ({"yarn": {"apply_scale": True}}, "yarn.apply_scale: True; expected false"),
        ({"moe": {"num_experts": 0}}, "says that a layer has 0 experts"),
        ({"moe": {"num_experts": 8, "route_every_n": 2}}, "moe_layer_freq"),
        ({"moe": {"num_experts": 8}}, "lacks"),
        ({"qk_rope_head_dim": None}, "lacks"),
    ],
)
def test_other_settings_of_experts_are_refused(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """By their names."""
    with pytest.raises(QuantkitError, match=message):
        _ = source_of(with_params(tmp_path, WITH_EXPERTS, **changed)).model_fields


def test_a_config_of_the_class_needs_all_of_yarn(tmp_path: Path) -> None:
    """One that params.json did not make may lack what readers need."""
    folder = with_params(tmp_path)
    yarn = {"rope_type": "yarn", "factor": 2.0, ORIGINAL: 8}
    config = {**(read_config(folder) or {}), "rope_scaling": yarn}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="lacks 'beta_fast'"):
        _ = source_of(folder).model_fields


def test_a_folder_of_mistrals_format_is_whole(tmp_path: Path) -> None:
    """params.json, weights under their own file name, and tekken.json."""
    content = small_tekken()
    size = content["config"]["default_vocab_size"]
    folder = with_params(tmp_path, vocab_size=size)
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    write_tekken(folder, content)
    metadata = source_of(folder).metadata
    assert metadata["llama.vocab_size"].value == size
    assert metadata["tokenizer.ggml.pre"].value == "tekken"


def test_eight_bit_floats_are_read(tmp_path: Path) -> None:
    """Each matrix has a scale of its own, and one of its inputs, which is left out."""
    folder = with_params(tmp_path, quantization={"qformat_weight": "fp8_e4m3"})
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = "layers.0.attention.wo"
    codes = np.full(tensors[f"{name}.weight"].shape, 0x38, np.uint8)  # 1.0
    stored = {k: ("F32", v) for k, v in tensors.items()}
    stored[f"{name}.weight"] = ("F8_E4M3", codes)
    for end in ("qscale_weight", "qscale_act"):
        stored[f"{name}.{end}"] = ("F32", np.array(0.25, np.float32))
    write_safetensors(path, stored)
    made = source_of(folder).tensors["blk.0.attn_output.weight"]
    assert np.all(made.read(0, 4).view(np.float32) == np.float32(0.25))
