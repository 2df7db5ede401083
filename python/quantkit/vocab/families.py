"""Which file holds each model family's vocabulary, and what the files leave out.

Source: the `set_vocab` rules of llama.cpp's converter (b11434), by the transformers
class that config.json names.  Classes not listed use the defaults of `FamilyRules`.
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
    """A file that can hold the vocabulary."""

    SENTENCEPIECE = "tokenizer.model"
    FAIRSEQ = "sentencepiece.bpe.model"
    JSON = "tokenizer.json"
    RANKS = "a tiktoken rank file"
    RWKV = "rwkv_vocab_v20230424.txt"
    PLAMO = "tokenizer.jsonl"
    TEKKEN = "tekken.json"
    MISTRAL = "tokenizer.model.v3"


class SpacePrefix(enum.Enum):
    """Which file decides whether a space is prepended to the text."""

    SETTINGS_FIRST = "tokenizer_config.json, written before the vocabulary"
    SETTINGS_LAST = "tokenizer_config.json, written at the end"
    MODEL = "tokenizer.model"
    NEVER = "none: no space is prepended"


@dataclass(frozen=True)
class FamilyRules:
    """How to read a family's vocabulary.

    Attributes:
        sources: the files to look for; the first that exists is used.
        merges_are_pieces: write a tokenizer.json with byte fallback with scores
            (a `llama` vocabulary), not with its merges (`gpt2`).
        has_mask: whether `<mask>` follows the pieces of sentencepiece.bpe.model.
        splits_at_spaces: write a tokenizer.json that splits text at white space as a
            `whitespace` vocabulary.
        is_gemma4: write such a tokenizer.json as a `gemma4` vocabulary.
        piece_files: the names that the SentencePiece model may have; the first counts.
        pieces: rules for it.
        ranks: rules for a tiktoken rank file.
        add_bos: whether texts start with BOS, unless a file says otherwise.
        flags: further fields before the vocabulary.
        folder: where the tokenizer's files are, inside the checkpoint's folder.
        types_after: the field after which the number of token types is written; empty:
            before all others; "last": after them; None: not at all.
        n_types: that number, if no file has it.
        spells_space_runs: write mmBERT's tokens for runs of spaces as unused ones.
        is_decision: the files have no template of prompts, which readers need.
        space: which file decides whether a space is prepended.
        lookup: special role -> token text, for roles that no file names.
        stand_ins: the same, but only if no file names any role.
        fixed: special role -> token id, for roles that no file names.
        chat_eos: the text of a token that becomes EOS if the vocabulary has it.
        last: special role -> token text, written after all others, whatever the files
            say, if there is such a token.
        chat_ends: the text of a token that becomes both BOS and EOS if
            tokenizer_config.json adds it.
        with_model: fields only for checkpoints with a tokenizer.model.
        sizes: fields only for models with this `vocab_size`.
        is_hunyuan: correct known errors in HunYuan's configs.
        has_template: whether the chat template is written.
    """

    sources: tuple[Source, ...] = (Source.JSON, Source.SENTENCEPIECE)
    merges_are_pieces: bool = False
    has_mask: bool = False
    splits_at_spaces: bool = False
    is_gemma4: bool = False
    piece_files: tuple[str, ...] = ("tokenizer.model",)
    pieces: PieceRules = field(default_factory=PieceRules)
    ranks: TiktokenRules | None = None
    add_bos: bool | None = None
    flags: Mapping[str, bool] = field(default_factory=dict)
    folder: str = ""
    types_after: str | None = None
    n_types: int | None = None
    spells_space_runs: bool = False
    is_decision: bool = False
    space: SpacePrefix | None = None
    lookup: Mapping[str, str] = field(default_factory=dict)
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, int] = field(default_factory=dict)
    chat_eos: str | None = None
    last: Mapping[str, str] = field(default_factory=dict)
    chat_ends: str | None = None
    with_model: Mapping[str, int | bool] = field(default_factory=dict)
    sizes: Mapping[int, Mapping[str, int | bool]] = field(default_factory=dict)
    is_hunyuan: bool = False
    has_template: bool = True


_MODEL_FIRST = (Source.SENTENCEPIECE, Source.JSON)
_QWEN_EXTRAS = tuple(f"<|extra_{i}|>" for i in range(205))

_FAIRSEQ = (Source.JSON, Source.FAIRSEQ)
_XLM_ROBERTA = FamilyRules(sources=_FAIRSEQ, types_after="add_space_prefix")
_PIECES = FamilyRules(sources=_MODEL_FIRST)
_LLAMA = FamilyRules(
    sources=(Source.TEKKEN, *_MODEL_FIRST),
    merges_are_pieces=True,
    space=SpacePrefix.SETTINGS_FIRST,
    # These sizes identify Code Llama and the small Granite models.
    sizes={32016: {"eot_token_id": 32010}, 49152: {"add_bos_token": False}},
)
_MISTRAL = replace(_LLAMA, sources=(Source.TEKKEN, Source.MISTRAL, Source.JSON))
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
_GLM_MOE = FamilyRules(
    lookup={
        "bos": "[gMASK]",
        "eot": "<|user|>",
        "unk": "<|endoftext|>",
        "eom": "<|observation|>",
    }
)
_SOLAR = FamilyRules(
    lookup={
        "eos": "<|endoftext|>",
        "eot": "<|endoftext|>",
        "unk": "<unk>",
        "bos": "<|startoftext|>",
    }
)
_GEMMA = FamilyRules(sources=_MODEL_FIRST, space=SpacePrefix.NEVER)
_GEMMA4 = FamilyRules(sources=(Source.JSON,), is_gemma4=True)
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

_MODERN_BERT = FamilyRules(
    add_bos=True,
    flags={"add_eos_token": True, "add_sep_token": True},
    spells_space_runs=True,
)
_T5 = FamilyRules(
    sources=_MODEL_FIRST,
    piece_files=("tokenizer.model", "spiece.model"),
    pieces=PieceRules(is_t5=True),
)

_KIMI = FamilyRules(
    sources=(Source.JSON, Source.RANKS, Source.SENTENCEPIECE),
    ranks=TiktokenRules("tiktoken.model", "kimi-k2", reserved=256),
)
_RWKV = FamilyRules(sources=(Source.RWKV,))
_PLAMO = FamilyRules(sources=(Source.PLAMO,))

_RULES: dict[str, FamilyRules] = {
    **dict.fromkeys(
        (
            "T5EncoderModel",
            "T5ForConditionalGeneration",
            "T5WithLMHeadModel",
            "MT5ForConditionalGeneration",
            "UMT5ForConditionalGeneration",
            "UMT5Model",
        ),
        _T5,
    ),
    **dict.fromkeys(
        (
            "LLaMAForCausalLM",
            "LlamaForCausalLM",
            "MistralForCausalLM",
            "MixtralForCausalLM",
            "LlavaForConditionalGeneration",
            "Mistral3ForConditionalGeneration",
            "Ministral3ForCausalLM",
            "SmolLM3ForCausalLM",
            "GraniteForCausalLM",
        ),
        _LLAMA,
    ),
    "MistralNative": _MISTRAL,
    **dict.fromkeys(
        (
            "Qwen2ForCausalLM",
            "Qwen3ForCausalLM",
            "Qwen2VLForConditionalGeneration",
            "Qwen2VLModel",
            "Qwen2_5_VLForConditionalGeneration",
            "Qwen2_5OmniModel",
            "Qwen3VLForConditionalGeneration",
            "BaichuanForCausalLM",
            "BaiChuanForCausalLM",
            "BitNetForCausalLM",
            "BitnetForCausalLM",
            "MiniCPM3ForCausalLM",
            "MiniCPMForCausalLM",
            "OpenELMForCausalLM",
            "RWKV6Qwen2ForCausalLM",
            "RwkvHybridForCausalLM",
        ),
        _PIECES,
    ),
    "PlamoForCausalLM": FamilyRules(sources=(Source.SENTENCEPIECE,)),
    **dict.fromkeys(
        ("Plamo2ForCausalLM", "PLaMo2ForCausalLM"), replace(_PLAMO, has_template=False)
    ),
    **dict.fromkeys(("Plamo3ForCausalLM", "PLaMo3ForCausalLM"), _PLAMO),
    **dict.fromkeys(
        ("Rwkv6ForCausalLM", "Rwkv7ForCausalLM", "RWKV7ForCausalLM"), _RWKV
    ),
    "QWenLMHeadModel": _QWEN1,
    "Qwen3OmniMoeForConditionalGeneration": FamilyRules(chat_ends="<|im_end|>"),
    **dict.fromkeys(
        ("ChatGLMModel", "ChatGLMForConditionalGeneration", "GlmForCausalLM"), _CHATGLM
    ),
    **dict.fromkeys(
        (
            "Glm4ForCausalLM",
            "Glm4vForConditionalGeneration",
            "GlmOcrForConditionalGeneration",
        ),
        _GLM4,
    ),
    **dict.fromkeys(
        (
            "Glm4MoeForCausalLM",
            "Glm4MoeLiteForCausalLM",
            "Glm4vMoeForConditionalGeneration",
            "Glm5NextForConditionalGeneration",
            "GlmMoeDsaForCausalLM",
        ),
        _GLM_MOE,
    ),
    "SolarOpenForCausalLM": _SOLAR,
    "MuseGlimmerForConditionalGeneration": FamilyRules(last={"eot": "<|eot|>"}),
    # CodeGemma's end of turn; the converter writes it for every Gemma 1 model.
    "GemmaForCausalLM": replace(_GEMMA, fixed={"eot": 107}),
    "Gemma2ForCausalLM": _GEMMA,
    "Gemma3ForCausalLM": _GEMMA,
    "Gemma3ForConditionalGeneration": _GEMMA,
    "Gemma3nForCausalLM": _GEMMA,
    "Gemma3nForConditionalGeneration": _GEMMA,
    "Gemma3TextModel": _GEMMA,
    **dict.fromkeys(
        (
            "Gemma4ForCausalLM",
            "Gemma4ForConditionalGeneration",
            "Gemma4UnifiedForConditionalGeneration",
            "Gemma4AssistantForCausalLM",
            "Gemma4UnifiedAssistantForCausalLM",
        ),
        _GEMMA4,
    ),
    **dict.fromkeys(
        (
            "BertModel",
            "BertForMaskedLM",
            "BertForSequenceClassification",
            "CamembertModel",
            "DistilBertModel",
            "DistilBertForMaskedLM",
            "DistilBertForSequenceClassification",
            "JinaBertForMaskedLM",
            "JinaBertModel",
            "NeoBERT",
            "NeoBERTForSequenceClassification",
            "NeoBERTLMHead",
        ),
        FamilyRules(types_after=""),
    ),
    "NomicBertModel": FamilyRules(types_after=""),
    **dict.fromkeys(
        ("RobertaModel", "RobertaForSequenceClassification"),
        FamilyRules(types_after="last"),
    ),
    **dict.fromkeys(
        ("XLMRobertaModel", "XLMRobertaForSequenceClassification"),
        _XLM_ROBERTA,
    ),
    **dict.fromkeys(
        (
            "ModernBertModel",
            "ModernBertForMaskedLM",
            "ModernBertForSequenceClassification",
        ),
        _MODERN_BERT,
    ),
    "ModernBertDecisionModel": replace(
        _MODERN_BERT,
        folder="tokenizer",
        types_after="last",
        n_types=3,
        is_decision=True,
    ),
    "EuroBertModel": FamilyRules(add_bos=False),
    "Phi3ForCausalLM": _PHI3,
    # The MPT models with a tokenizer.model are SEA-LION's.
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
    **dict.fromkeys(
        (
            "DeepseekV3ForCausalLM",  # Kimi K2
            "KimiK25ForConditionalGeneration",
            "KimiK3ForConditionalGeneration",
            "KimiLinearForCausalLM",
            "KimiLinearModel",
            "KimiVLForConditionalGeneration",
        ),
        _KIMI,
    ),
}


def rules_of(
    config: Mapping[str, Any], arch: str, settings: Mapping[str, Any]
) -> FamilyRules:
    """The rules for a checkpoint.

    Args:
        config: config.json.
        arch: `general.architecture`, used if the config names no class.
        settings: tokenizer_config.json.
    """
    names = config.get("architectures")
    if not names or not isinstance(names[0], str):
        return _LLAMA if arch == "llama" else FamilyRules()
    rules = _RULES.get(names[0], FamilyRules())
    if rules is _PHI3 and _is_of(settings, "GPT2Tokenizer"):
        return FamilyRules()  # Phi-4 uses Phi-3's class but GPT-2's tokenizer
    if names[0] == "NomicBertModel" and config.get("moe_every_n_layers"):
        return replace(_XLM_ROBERTA, has_mask=True)
    if names[0].startswith("JinaBert") and _is_of(settings, "RobertaTokenizer"):
        return replace(rules, types_after="last", splits_at_spaces=True)
    return rules


def _is_of(settings: Mapping[str, Any], tokenizer_class: str) -> bool:
    return bool(settings.get("tokenizer_class") == tokenizer_class)
