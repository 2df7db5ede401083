"""The names of pre-tokenizers, their regular expressions and their flags.

Source: the names and flags in llama.cpp's llama-vocab.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UnsupportedModelError
from ..suggestions import suggest
from . import pre_patterns as p

__all__ = ["PRE_TOKENIZERS", "PreTokenizer", "pre_tokenizer_named"]


@dataclass(frozen=True)
class PreTokenizer:
    """One way to split text into words, with all its names.

    Attributes:
        names: values of `tokenizer.ggml.pre`; quantkit writes the first.
        patterns: the expressions that llama.cpp applies in order, each to the pieces
            that the previous one left.
        steps: the steps in tokenizer.json, if they differ from `patterns`.
        ignore_merges: a word in the vocabulary becomes one token without merging.
        add_bos: whether a text starts with BOS if the metadata does not say.
        clue: a token that identifies this name among others that split the same way.
        has_bos: whether there is a BOS token if the metadata names none.
        letters: tokens are byte-level, with a character per byte; otherwise they are
            plain text with "▁" for a space.
        word_starts: with plain text, each space and each line starts a word.
        whole_line_ends: with plain text, a run of newlines is one token if the
            vocabulary has it.
        always_bos: a text starts with BOS, whatever the metadata says.
    """

    names: tuple[str, ...]
    patterns: tuple[str, ...]
    steps: tuple[str, ...] | None = None
    ignore_merges: bool = False
    add_bos: bool = False
    clue: str | None = None
    has_bos: bool = True
    letters: bool = True
    word_starts: bool = False
    whole_line_ends: bool = False
    always_bos: bool = False


# The first match for a tokenizer.json is used, so entries with a clue come first.
PRE_TOKENIZERS: tuple[PreTokenizer, ...] = (
    PreTokenizer(
        ("glm4", "glm5"),
        (p.LLAMA3,),
        ignore_merges=True,
        clue="[gMASK]",
        has_bos=False,
    ),
    PreTokenizer(("chatglm-bpe",), (p.LLAMA3,), clue="[gMASK]", has_bos=False),
    PreTokenizer(
        (
            *("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "midm-2.0"),
            *("falcon-h1", "lfm2", "jina-v5-nano"),
        ),
        (p.LLAMA3,),
        ignore_merges=True,
        add_bos=True,
    ),
    PreTokenizer(("dbrx", "smaug-bpe"), (p.LLAMA3,)),
    PreTokenizer(
        ("deepseek-r1-qwen",), (p.QWEN2,), clue="<\uff5cbegin▁of▁sentence\uff5c>"
    ),
    PreTokenizer(
        (
            *("qwen2", "stablelm2", "hunyuan", "megrez", "solar-open", "kormo"),
            *("grok-2", "f2llmv2"),
        ),
        (p.QWEN2,),
    ),
    PreTokenizer(("qwen35",), (p.QWEN35,)),
    PreTokenizer(("command-r",), (p.DIGIT, p.GPT2), clue="<BOS_TOKEN>"),
    PreTokenizer(
        ("starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"),
        (p.DIGIT, p.GPT2),
        clue="<fim_prefix>",
    ),
    PreTokenizer(("smollm",), (p.DIGIT, p.GPT2)),
    PreTokenizer(
        (
            *("gpt-2", "mpt", "olmo", "mellum", "trillion", "granite-docling"),
            *("a.x-4.0", "phi-2", "gigachat", "modern-bert", "exaone4", "jais"),
            *("jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "jina-v1-en"),
            *("jina-v2-code", "roberta-bpe"),
        ),
        (p.GPT2,),
    ),
    PreTokenizer(("llama4",), (p.GPT4O,), (p.HF_GPT4O,), clue="<|begin_of_text|>"),
    PreTokenizer(
        ("gpt-4o", "minimax-m2", "kanana2", "talkie"), (p.GPT4O,), (p.HF_GPT4O,)
    ),
    PreTokenizer(
        ("tekken",), (p.TEKKEN,), (p.HF_TEKKEN,), ignore_merges=True, add_bos=True
    ),
    PreTokenizer(("deepseek-llm",), p.DEEPSEEK_LLM, p.HF_DEEPSEEK_LLM),
    PreTokenizer(
        ("deepseek-coder",),
        (*p.DEEPSEEK_CODER, rf"[{p.CHINESE_KOREAN}&&[^\s]]+", p.DIGIT),
        (*p.DEEPSEEK_CODER, f"[{p.CHINESE_KOREAN}]+", p.DIGIT),
    ),
    PreTokenizer(
        ("deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"),
        (p.THREE_DIGITS, p.CHINESE_JAPANESE, p.DEEPSEEK_V3),
    ),
    PreTokenizer(
        ("falcon",),
        (r"[\p{P}\$\+<=>\^~\|`]+", p.GPT2, p.HUNDREDS),
        (p.HF_PUNCTUATION, p.GPT2, p.DIGITS, p.HUNDREDS),
    ),
    PreTokenizer(("seed-coder",), (p.SEED_CODER,)),
    PreTokenizer(("bloom", "poro-chat", "gpt3-finnish"), (p.BLOOM,), (p.HF_BLOOM,)),
    PreTokenizer(("viking",), (p.BLOOM, p.DIGIT), (p.HF_BLOOM, p.DIGIT)),
    PreTokenizer(
        ("bailingmoe", "bailingmoe2", "llada-moe"), (p.BAILING,), (p.HF_BAILING,)
    ),
    PreTokenizer(("exaone-moe",), (p.EXAONE_MOE,)),
    PreTokenizer(("jais-2",), (p.JAIS2,)),
    PreTokenizer(("ufakzeka",), (p.UFAKZEKA,)),
    PreTokenizer(("laguna",), (p.LINES, p.QWEN2)),
    PreTokenizer(("kimi-k2",), (p.KIMI,)),
    PreTokenizer(
        ("tiny_aya", "cohere2moe"), (p.NUMBERS, p.TINY_AYA), (p.HF_NUMBERS, p.HF_GPT4O)
    ),
    PreTokenizer(("granite-embed-multi-97m",), (p.GRANITE_MULTI,), ignore_merges=True),
    PreTokenizer(
        ("youtu",),
        (p.YOUTU_SCRIPTS, p.YOUTU),
        (p.YOUTU_SCRIPTS, p.HF_YOUTU),
        ignore_merges=True,
    ),
    PreTokenizer(("superbpe",), (p.DIGITS, r"(?=(\d{3})+(?!\d))")),
    PreTokenizer(
        ("afmoe",),
        (p.LINEAR_NUMBERS, p.ASIAN, p.DEEPSEEK_V3),
        (p.NUMBERS, p.ASIAN, p.DEEPSEEK_V3),
    ),
    PreTokenizer(("spark2_5",), (p.THREE_DIGITS, p.CHINESE_JAPANESE, p.SPARK, p.DIGIT)),
    PreTokenizer(
        ("chameleon",),
        (
            "<sentinel:[0-9]+>",
            "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
            r"([\t\n]|    |  )",
            p.DIGIT,
            r"[\p{P}!-/:-@\[-`{-~]",
            p.GPT2,
        ),
        add_bos=True,
    ),
    PreTokenizer(
        ("gemma4", "granite-embed-multi-311m"),
        (p.LINES,),
        (p.HF_SPACES, p.HF_SPLIT_SPACES),
        letters=False,
        whole_line_ends=True,
        always_bos=True,
    ),
    PreTokenizer(("sarvam-moe",), (p.LINES,), letters=False),
    PreTokenizer(
        ("mmbert",), (p.LINES,), letters=False, word_starts=True, whole_line_ends=True
    ),
    PreTokenizer(("minicpm5",), (p.THREE_DIGITS, p.MINICPM5), ignore_merges=True),
    PreTokenizer(("default",), (r"[\p{P}\$\+<=>\^~\|]+", p.GPT2, p.DIGITS, p.HUNDREDS)),
)


def pre_tokenizer_named(name: str) -> PreTokenizer:
    """The pre-tokenizer that GGUF files call `name`.

    Raises:
        UnsupportedModelError: the name is unknown; the message suggests the nearest.
    """
    for known in PRE_TOKENIZERS:
        if name in known.names:
            return known
    names = [each for known in PRE_TOKENIZERS for each in known.names]
    raise UnsupportedModelError(f"unknown pre-tokenizer {name!r}{suggest(name, names)}")
