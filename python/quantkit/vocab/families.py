"""Where each family's vocabulary lies, and what its makers' files leave out.

Source: the `set_vocab` rules of llama.cpp's converter (b11434), by the class of
transformers that config.json names.  A class that is not here has a tokenizer.json.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .pieces import PieceRules
from .tiktoken import TiktokenRules

__all__ = ["FamilyRules", "Source", "SpacePrefix", "rules_of"]


class Source(enum.Enum):
    """A file with a vocabulary."""

    SENTENCEPIECE = "tokenizer.model"
    JSON = "tokenizer.json"
    RANKS = "a file of tiktoken's"


class SpacePrefix(enum.Enum):
    """Which file says whether a text gets a space before it."""

    SETTINGS_FIRST = "tokenizer_config.json, written before the vocabulary"
    SETTINGS_LAST = "tokenizer_config.json, written at the end"
    MODEL = "tokenizer.model"
    NEVER = "none: it gets none"


@dataclass(frozen=True)
class FamilyRules:
    """How a family's vocabulary is read.

    Attributes:
        sources: the files to look for; the first that is there counts.
        merges_are_pieces: a tokenizer.json with byte fallback is written with scores
            (kind `llama`), not with its merges (kind `gpt2`).
        pieces: how tokenizer.model is read.
        ranks: how a file of tiktoken's is read.
        add_bos: whether texts start with BOS, unless a file says otherwise.
        space: which file says whether texts start with a space.
        lookup: tokens that play a role unless a file names another, by their text.
        stand_ins: the same, but only if no file names any token's role.
        fixed: ids of roles, unless a file names another.
        chat_eos: the token that replaces EOS where there is one of this text.
        with_model: fields that only checkpoints with a tokenizer.model have.
        sizes: fields that only models of one vocabulary size have.
        is_hunyuan: its configs are corrected.
    """

    sources: tuple[Source, ...] = (Source.JSON, Source.SENTENCEPIECE)
    merges_are_pieces: bool = False
    pieces: PieceRules = field(default_factory=PieceRules)
    ranks: TiktokenRules | None = None
    add_bos: bool | None = None
    space: SpacePrefix | None = None
    lookup: Mapping[str, str] = field(default_factory=dict)
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, int] = field(default_factory=dict)
    chat_eos: str | None = None
    with_model: Mapping[str, int | bool] = field(default_factory=dict)
    sizes: Mapping[int, Mapping[str, int | bool]] = field(default_factory=dict)
    is_hunyuan: bool = False


_MODEL_FIRST = (Source.SENTENCEPIECE, Source.JSON)
_QWEN_EXTRAS = tuple(f"<|extra_{i}|>" for i in range(205))

_PIECES = FamilyRules(sources=_MODEL_FIRST)
_LLAMA = FamilyRules(
    sources=_MODEL_FIRST,
    merges_are_pieces=True,
    space=SpacePrefix.SETTINGS_FIRST,
    # The sizes tell Code Llama and Granite's small models from others.
    sizes={32016: {"eot_token_id": 32010}, 49152: {"add_bos_token": False}},
)
_QWEN1 = FamilyRules(
    sources=(Source.RANKS, Source.JSON),
    ranks=TiktokenRules(
        "qwen.tiktoken",
        "qwen2",
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *_QWEN_EXTRAS),
    ),
    lookup={"unk": "<|endoftext|>"},
    stand_ins={"bos": "<|endoftext|>", "eos": "<|endoftext|>"},
)
_CHATGLM = FamilyRules(
    sources=(Source.JSON, Source.RANKS, Source.SENTENCEPIECE),
    pieces=PieceRules(
        first=("<unk>", "<bos>", "<eos>"),
        after=(
            *("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"),
            *("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
        ),
        padding_score=0.0,
        pre="chatglm-spm",
    ),
    ranks=TiktokenRules("tokenizer.model", "chatglm-bpe"),
    add_bos=False,
    lookup={"eos": "<|endoftext|>", "eot": "<|user|>", "unk": "<|endoftext|>"},
)
_GLM4 = FamilyRules(lookup={**_CHATGLM.lookup, "bos": "<|endoftext|>"})
_GEMMA = FamilyRules(sources=_MODEL_FIRST, space=SpacePrefix.NEVER)
_PHI3 = FamilyRules(sources=_MODEL_FIRST, pieces=PieceRules(by_mark=True))
_INTERNLM2 = FamilyRules(
    sources=_MODEL_FIRST,
    pieces=PieceRules(by_mark=True, unused_prefix="[UNUSED", nul="🐉"),
    space=SpacePrefix.MODEL,
    chat_eos="<|im_end|>",
)
_HUNYUAN = FamilyRules(
    sources=(Source.JSON, Source.RANKS),
    ranks=TiktokenRules(
        "hy.tiktoken",
        "hunyuan",
        (
            *("<|endoftext|>", "<|startoftext|>", "<|bos|>", "<|eos|>", "<|pad|>"),
            *_QWEN_EXTRAS,
        ),
    ),
    is_hunyuan=True,
)

_RULES: dict[str, FamilyRules] = {
    **dict.fromkeys(
        (
            "LLaMAForCausalLM",
            "LlamaForCausalLM",
            "MistralForCausalLM",
            "MixtralForCausalLM",
            "SmolLM3ForCausalLM",
            "GraniteForCausalLM",
        ),
        _LLAMA,
    ),
    **dict.fromkeys(
        (
            "Qwen2ForCausalLM",
            "Qwen3ForCausalLM",
            "BaichuanForCausalLM",
            "BaiChuanForCausalLM",
            "MiniCPMForCausalLM",
        ),
        _PIECES,
    ),
    "QWenLMHeadModel": _QWEN1,
    **dict.fromkeys(
        ("ChatGLMModel", "ChatGLMForConditionalGeneration", "GlmForCausalLM"), _CHATGLM
    ),
    "Glm4ForCausalLM": _GLM4,
    # Code Gemma's end of turn, which the converter gives every Gemma of the first kind.
    "GemmaForCausalLM": replace(_GEMMA, fixed={"eot": 107}),
    "Gemma2ForCausalLM": _GEMMA,
    "Gemma3ForCausalLM": _GEMMA,
    "Gemma3ForConditionalGeneration": _GEMMA,
    "Phi3ForCausalLM": _PHI3,
    # The MPT models with a tokenizer.model are those of SEA-LION.
    "MPTForCausalLM": FamilyRules(
        with_model={
            "add_bos_token": False,
            "padding_token_id": 3,
            "eos_token_id": 1,
            "unknown_token_id": 0,
        }
    ),
    "PhiForCausalLM": FamilyRules(add_bos=False),
    "InternLM2ForCausalLM": _INTERNLM2,
    **dict.fromkeys(
        ("Ernie4_5ForCausalLM", "Ernie4_5_ForCausalLM"),
        replace(_PIECES, space=SpacePrefix.SETTINGS_LAST),
    ),
    "HunYuanDenseV1ForCausalLM": _HUNYUAN,
}


def rules_of(
    config: Mapping[str, Any], arch: str, settings: Mapping[str, Any]
) -> FamilyRules:
    """The rules for a checkpoint.

    Args:
        config: config.json.
        arch: `general.architecture`, for a config that names no class.
        settings: tokenizer_config.json.
    """
    names = config.get("architectures")
    if not names:
        return _LLAMA if arch == "llama" else FamilyRules()
    rules = _RULES.get(names[0], FamilyRules())
    if rules is _PHI3 and settings.get("tokenizer_class") == "GPT2Tokenizer":
        return FamilyRules()  # Phi-4 is of Phi-3's class, and has GPT-2's tokenizer
    return rules
