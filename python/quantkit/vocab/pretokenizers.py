"""How byte-level BPE cuts text into words, and the names GGUF has for it.

`tokenizer.ggml.pre` holds a name, and readers know which regular expressions it stands
for.  llama.cpp's converter finds the name by hashing the token ids of a fixed text, so
one added token makes a model unknown; here it is found from the steps that
tokenizer.json itself gives.

Sources: the names, expressions and flags that llama.cpp's llama-vocab.cpp reads, and
the `pre_tokenizer` sections of the models' tokenizer.json.
"""

# ruff: noqa: RUF001 (letters that look like others are what the expressions match)

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UnsupportedModelError
from ..types import suggest

__all__ = ["PRE_TOKENIZERS", "PreTokenizer", "pre_tokenizer_named", "recognize"]

Json = Mapping[str, Any]


@dataclass(frozen=True)
class PreTokenizer:
    """One way to cut text, under all its names.

    Attributes:
        names: values of `tokenizer.ggml.pre`; quantkit writes the first.
        patterns: the expressions that llama.cpp applies one after the other, each
            within the pieces that the one before it left.
        steps: the steps of tokenizer.json, where they differ from `patterns`.
        ignore_merges: a word in the vocabulary is one token, whatever its merges.
        add_bos: a text starts with the BOS token if the metadata does not say.
        clue: a token that tells this name from others that cut alike.
    """

    names: tuple[str, ...]
    patterns: tuple[str, ...]
    steps: tuple[str, ...] | None = None
    ignore_merges: bool = False
    add_bos: bool = False
    clue: str | None = None


def _any(*alternatives: str) -> str:
    return "|".join(alternatives)


_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# Contractions in any case.  llama.cpp spells out the cases; (?i) would add the long s.
_HF_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_DIGIT, _DIGITS, _THREE_DIGITS = r"\p{N}", r"\p{N}+", r"\p{N}{1,3}"

_LLAMA3 = _any(_CONTRACTIONS, _WORD, _THREE_DIGITS, _SYMBOLS, _SPACES)
_QWEN2 = _any(_CONTRACTIONS, _WORD, _DIGIT, _SYMBOLS, _SPACES)
_QWEN35 = _any(
    _CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
    _DIGIT,
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
    _SPACES,
)
_SEED_CODER = _any(
    _CONTRACTIONS, _WORD, r"\p{N}{1}", r" ?[^\s\p{L}\p{N}\r\n]+", _SPACES
)
_MINICPM5 = _any(_CONTRACTIONS, _WORD, _DIGITS, _SYMBOLS, _SPACES)


def _cased(capital: str, small: str, ending: str, digits: str) -> str:
    """Words that are cut where a small letter precedes a capital."""
    first = r"[^\r\n\p{L}\p{N}]?"
    return _any(
        f"{first}{capital}*{small}+{ending}",
        f"{first}{capital}+{small}*{ending}",
        digits,
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        _SPACES,
    )


# To llama.cpp a letter outside ASCII is a capital and a small letter at once.
_CASES = r"[\p{L}&&[^a-z]]", r"[\p{L}&&[^A-Z]]"
_HF_CASES = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_GPT4O = _cased(*_CASES, f"{_CONTRACTIONS}?", _THREE_DIGITS)
_HF_GPT4O = _cased(*_HF_CASES, f"{_CONTRACTIONS}?", _THREE_DIGITS)
_TEKKEN = _cased(*_CASES, "", _DIGIT)
_HF_TEKKEN = _cased(*_HF_CASES, "", _DIGIT)

_HF_PUNCTUATION = "Punctuation (Contiguous)"
_HUNDREDS = "[0-9][0-9][0-9]"
_LINE_END = r"[\r\n]"
_CHINESE_KOREAN = "[一-龥ࠀ-一가-퟿]+"
_CHINESE_JAPANESE = "[一-龥぀-ゟ゠-ヿ]+"
_DEEPSEEK_LETTERS = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-Ֆ"
    "Ⴀ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄ"
    "ῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲ"
    "ⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
_DEEPSEEK_LLM = (
    _LINE_END,
    rf"\s?[{_DEEPSEEK_LETTERS}]+",
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    r"\s+$",
    _CHINESE_KOREAN,
)
_DEEPSEEK_V3 = _any(
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""",
    r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
    r" ?[\p{P}\p{S}]+[\r\n]*",
    _SPACES,
)

# Of several that fit a tokenizer.json the first counts; those with a clue come first.
PRE_TOKENIZERS: tuple[PreTokenizer, ...] = (
    PreTokenizer(
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "midm-2.0"),
        (_LLAMA3,),
        ignore_merges=True,
        add_bos=True,
    ),
    PreTokenizer(("dbrx", "smaug-bpe"), (_LLAMA3,)),
    PreTokenizer(("deepseek-r1-qwen",), (_QWEN2,), clue="<｜begin▁of▁sentence｜>"),
    PreTokenizer(
        ("qwen2", "stablelm2", "hunyuan", "megrez", "solar-open", "kormo"),
        (_QWEN2,),
    ),
    PreTokenizer(("qwen35",), (_QWEN35,)),
    PreTokenizer(("command-r",), (_DIGIT, _GPT2), clue="<BOS_TOKEN>"),
    PreTokenizer(
        ("starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"),
        (_DIGIT, _GPT2),
        clue="<fim_prefix>",
    ),
    PreTokenizer(("smollm",), (_DIGIT, _GPT2)),
    PreTokenizer(
        ("gpt-2", "mpt", "olmo", "mellum", "trillion", "granite-docling", "a.x-4.0"),
        (_GPT2,),
    ),
    PreTokenizer(("llama4",), (_GPT4O,), (_HF_GPT4O,), clue="<|begin_of_text|>"),
    PreTokenizer(("gpt-4o", "minimax-m2", "kanana2"), (_GPT4O,), (_HF_GPT4O,)),
    PreTokenizer(
        ("tekken",), (_TEKKEN,), (_HF_TEKKEN,), ignore_merges=True, add_bos=True
    ),
    PreTokenizer(
        ("deepseek-llm",), (*_DEEPSEEK_LLM, _DIGITS), (*_DEEPSEEK_LLM, _DIGIT)
    ),
    PreTokenizer(
        ("deepseek-coder",),
        (_LINE_END, r"\s?\p{L}+", r"\s?\p{P}+", _CHINESE_KOREAN, _DIGIT),
    ),
    PreTokenizer(
        ("deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"),
        (_THREE_DIGITS, _CHINESE_JAPANESE, _DEEPSEEK_V3),
    ),
    PreTokenizer(
        ("falcon",),
        (r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, _HUNDREDS),
        (_HF_PUNCTUATION, _GPT2, _DIGITS, _HUNDREDS),
    ),
    PreTokenizer(("seed-coder",), (_SEED_CODER,)),
    PreTokenizer(("minicpm5",), (_THREE_DIGITS, _MINICPM5), ignore_merges=True),
    PreTokenizer(("default",), (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, _DIGITS, _HUNDREDS)),
)


def pre_tokenizer_named(name: str) -> PreTokenizer:
    """The pre-tokenizer that GGUF files call `name`.

    Raises:
        UnsupportedModelError: an unknown name; the message suggests the nearest.
    """
    for known in PRE_TOKENIZERS:
        if name in known.names:
            return known
    names = [each for known in PRE_TOKENIZERS for each in known.names]
    raise UnsupportedModelError(f"unknown pre-tokenizer {name!r}{suggest(name, names)}")


def recognize(tokenizer: Json) -> str:
    """The GGUF name for the way in which a tokenizer.json cuts text.

    Raises:
        UnsupportedModelError: its steps are none of those known.
    """
    steps = tuple(_steps(tokenizer.get("pre_tokenizer") or {}))
    tokens = tokenizer["model"]["vocab"].keys() | {
        token["content"] for token in tokenizer.get("added_tokens", ())
    }
    ignore_merges = tokenizer["model"].get("ignore_merges", False)
    fitting = [
        known
        for known in PRE_TOKENIZERS
        if steps in (known.patterns, known.steps)
        and (known.clue is None or known.clue in tokens)
    ]
    # Whether merges are ignored decides only between names that cut alike.
    fitting.sort(key=lambda known: known.ignore_merges != ignore_merges)
    if not fitting:
        raise UnsupportedModelError(
            "tokenizer.json cuts text in a way quantkit does not know:\n  "
            + "\n  ".join(steps or ("(no steps)",))
            + "\nIf you know llama.cpp's name for it, give that: --pre-tokenizer NAME "
            '(in Python pre_tokenizer="NAME")'
        )
    return fitting[0].names[0]


def _steps(section: Json) -> Iterator[str]:
    """The steps of a `pre_tokenizer` section as expressions; any other is described."""
    match section:
        case {"type": "Sequence", "pretokenizers": parts}:
            for part in parts:
                yield from _steps(part)
        case {"type": "Split", "pattern": {"Regex": pattern}}:
            # A pattern that matches all text cuts the same if the rest is removed.
            cut = section.get("behavior"), section.get("invert", False)
            plain = cut in (("Isolated", False), ("Removed", True))
            yield _spelled(pattern) + ("" if plain else f" ({cut[0]}, invert={cut[1]})")
        case {"type": "Digits", "individual_digits": individual}:
            yield _DIGIT if individual else _DIGITS
        case {"type": "ByteLevel", "use_regex": False}:
            pass
        case {"type": "ByteLevel"}:
            yield _GPT2
        case {"type": kind}:
            yield f"{kind} ({section.get('behavior', 'any')})"


def _spelled(pattern: str) -> str:
    """A pattern in this table's spelling."""
    spelled = pattern.replace("\r", r"\r").replace("\n", r"\n")
    return spelled.replace(_HF_CONTRACTIONS, _CONTRACTIONS)
