"""The regular expressions with which byte-level BPE splits text into words.

Sources: the expressions in llama.cpp's llama-vocab.cpp, and the `pre_tokenizer`
sections of the models' tokenizer.json (those with the prefix HF_).
"""

# ruff: noqa: RUF001 (the expressions contain ambiguous letters)

from __future__ import annotations


def _any(*alternatives: str) -> str:
    return "|".join(alternatives)


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# Contractions in upper and lower case; (?i) would also match the long s (U+017F).
HF_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
DIGIT, DIGITS, THREE_DIGITS = r"\p{N}", r"\p{N}+", r"\p{N}{1,3}"

LLAMA3 = _any(CONTRACTIONS, WORD, THREE_DIGITS, SYMBOLS, SPACES)
QWEN2 = _any(CONTRACTIONS, WORD, DIGIT, SYMBOLS, SPACES)
QWEN35 = _any(
    CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
    DIGIT,
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
    SPACES,
)
SEED_CODER = _any(CONTRACTIONS, WORD, r"\p{N}{1}", r" ?[^\s\p{L}\p{N}\r\n]+", SPACES)
JAIS2 = _any(
    CONTRACTIONS,
    WORD,
    THREE_DIGITS,
    SYMBOLS,
    r"\s*[\r\n]+",
    *(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4)),
    r"\s{1,2}(?!\S)",
    r"\s{1}",
)
EXAONE_MOE = _any(
    CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+",
    DIGIT,
    r" ?[^\s\p{L}\p{N}]+[\r\n/]?",
    r"\s*[\r\n]|\s+(?!\S)|\s+",
)
BAILING_END = r"\s*[\r\n]|\s+(?!\S)|\s+"
BAILING = _any(
    "'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])", WORD, DIGIT, SYMBOLS, BAILING_END
)
HF_BAILING = _any(
    "'(?i:[sdmt]|ll|ve|re)",
    r"[^\r\n\p{L}\p{N}]?+\p{L}+",
    DIGIT,
    r" ?[^\s\p{L}\p{N}]++[\r\n]*",
    BAILING_END,
)
UFAKZEKA = _any(WORD, DIGIT, SYMBOLS, SPACES)
MINICPM5 = _any(CONTRACTIONS, WORD, DIGITS, SYMBOLS, SPACES)


def _cased(capital: str, small: str, ending: str, digits: str) -> str:
    """Words that are split between a lowercase and an uppercase letter."""
    first = r"[^\r\n\p{L}\p{N}]?"
    return _any(
        f"{first}{capital}*{small}+{ending}",
        f"{first}{capital}+{small}*{ending}",
        digits,
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        SPACES,
    )


# llama.cpp treats a letter outside ASCII as both uppercase and lowercase.
CASES = r"[\p{L}&&[^a-z]]", r"[\p{L}&&[^A-Z]]"
HF_CASES = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
GPT4O = _cased(*CASES, f"{CONTRACTIONS}?", THREE_DIGITS)
HF_GPT4O = _cased(*HF_CASES, f"{CONTRACTIONS}?", THREE_DIGITS)
TEKKEN = _cased(*CASES, "", DIGIT)
HF_TEKKEN = _cased(*HF_CASES, "", DIGIT)

CASES_MARKS = r"[[\p{L}\p{M}]&&[^a-z]]", r"[[\p{L}\p{M}]&&[^A-Z]]"
GRANITE_MULTI = _cased(*CASES_MARKS, f"{CONTRACTIONS}?", THREE_DIGITS)
# In these pre-tokenizers llama.cpp matches any letter for both classes.
NO_CASES = r"[\p{L}\p{M}]", r"[\p{L}\p{M}]"
TINY_AYA = _cased(*NO_CASES, f"{CONTRACTIONS}?", THREE_DIGITS)
YOUTU = _cased(*NO_CASES, f"{CONTRACTIONS}?", DIGIT)
HF_YOUTU = _cased(*HF_CASES, f"{CONTRACTIONS}?", DIGIT)

HAN = (
    "一-鿿㐀-䶿豈-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b73f"
    "\U0002b740-\U0002b81f\U0002b820-\U0002ceaf\U0002ceb0-\U0002ebef"
    "\U0002f800-\U0002fa1f"
)
KIMI = _any(
    f"[{HAN}]+",
    rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}&&[^{HAN}]]+{CONTRACTIONS}?",
    THREE_DIGITS,
    SYMBOLS,
    SPACES,
)

BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
HF_BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
LINES = r"[^\n]+|[\n]+"
# llama.cpp groups digits from the end; preceding text stays with the first group.
NUMBERS = r"[^\p{N}]*\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"
# The same pieces in linear time: nothing is tried again, and a last piece without
# digits is matched instead of searched for digits from each of its characters.
LINEAR_NUMBERS = _any(r"[^\p{N}]*+\p{N}{1,3}(?=(?:\p{N}{3})*+(?!\p{N}))", r"[^\p{N}]++")
HF_NUMBERS = r"\d{1,3}(?=(?:\d{3})*\b)"

HF_PUNCTUATION = "Punctuation (Contiguous)"
HF_SPACES = "Replace (' ' by '▁')"
HF_SPLIT_SPACES = "Split (MergedWithPrevious)"
HUNDREDS = "[0-9][0-9][0-9]"
LINE_END = r"[\r\n]"
CHINESE_KOREAN = "一-龥ࠀ-一가-퟿"
CHINESE_JAPANESE = "[一-龥぀-ゟ゠-ヿ]+"
DEEPSEEK_LETTERS = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-Ֆ"
    "Ⴀ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄ"
    "ῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲ"
    "ⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
# llama.cpp matches no whitespace outside ASCII in these classes.
DEEPSEEK_SIGNS = "!-/:-~！-／：-～‘-‟　-。"
DEEPSEEK_WORDS = rf"\s?[{DEEPSEEK_LETTERS}]+"
DEEPSEEK_LLM = (
    LINE_END,
    DEEPSEEK_WORDS,
    rf"\s?[{DEEPSEEK_SIGNS}&&[^\s]]+",
    r"\s+$",
    rf"[{CHINESE_KOREAN}&&[^\s]]+",
    DIGITS,
)
HF_DEEPSEEK_LLM = (
    LINE_END,
    DEEPSEEK_WORDS,
    rf"\s?[{DEEPSEEK_SIGNS}]+",
    r"\s+$",
    f"[{CHINESE_KOREAN}]+",
    DIGIT,
)
DEEPSEEK_CODER = (LINE_END, r"\s?\p{L}+", r"\s?\p{P}+")
DEEPSEEK_V3 = _any(
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""",
    r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
    r" ?[\p{P}\p{S}]+[\r\n]*",
    SPACES,
)

SPARK = _any(
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""",
    r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
    r" ?[\p{P}\p{S}]+",
    r"[\r\n]|\s+(?!\S)|\s+",
)
ASIAN = (
    "[一-鿿㐀-䶿豈-\ufaff\u3040-ゟ゠-ヿ･-ﾟ⼀-\u2fdf\u0e00-\u0e7f\u0e80-\u0eff"
    "ក-\u17ffက-႟ꩠ-ꩿꧠ-\ua9ff가-\ud7af\u1100-ᇿ]+"
)
YOUTU_SCRIPTS = (
    "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-ゟ゠-ヿ]+"
)
