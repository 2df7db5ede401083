"""Choose `tokenizer.ggml.pre`: by the steps in tokenizer.json, then by the hash.

llama.cpp's converter looks only at a hash of the token ids of one text.  That text does
not show every difference: SmolLM2's tokenizer gives the same ids after its step for
digits was lost.  So the steps decide, and the hash chooses between names for the same
steps.  Where the steps are unknown, the hash is believed if both ways give the same ids
for more texts.
"""

from __future__ import annotations

from collections.abc import Callable

import tokenizers

from ..errors import UnsupportedModelError
from ..gguf.keys import Field
from ..tokens.tokenizer import Tokenizer
from .files import TokenizerFiles
from .library import attempt, name_by_hash
from .pretokenizers import described_steps, recognize, recognize_or_none, with_steps_of
from .schema import Json

__all__ = ["choose_pre_tokenizer"]

Fields = dict[str, Field]

_PROBES = (
    "Steps:\n\n1. cut\n2. split  it\r\n\r\n\tend",
    "In 2024, 1234567 of 89 items cost $3.50; x86 has 16 bits, 3x",
    "I'm sure WE'LL say DON'T, isn't it? It'S so",
    "camelCase HTMLParser snake_case  two   three    \n \n\n x",
    "日本語の文章。 Ünïcödé naïve Привет мир, καλά! 한국어 텍스트 عربي 🚀👩‍👩‍👧",
    'f(x)=[{a:1}]; // #!/usr/bin <p>&amp;</p> "q" `c` ~^|\\ +-*/% ---- ====',
)


def choose_pre_tokenizer(
    files: TokenizerFiles,
    definition: Json,
    tokenizer: tokenizers.Tokenizer,
    fields_for: Callable[[str], Fields],
) -> Fields:
    """The fields of a byte-level BPE vocabulary with the pre-tokenizer that fits.

    Args:
        files: the tokenizer's files; messages go to its `notify`.
        definition: tokenizer.json.
        tokenizer: the library's tokenizer of `definition`.
        fields_for: the fields with a given name of the pre-tokenizer.

    Raises:
        UnsupportedModelError: no known pre-tokenizer splits text as `definition` does.
    """
    hashed = name_by_hash(files, tokenizer)
    by_steps = recognize_or_none(definition)
    if by_steps is None and hashed is None:
        recognize(definition)  # raises the error
    if by_steps is not None:
        names = [name for known in with_steps_of(definition) for name in known.names]
        if hashed in names:
            return fields_for(hashed)
        if hashed is not None:
            files.notify(
                f"{files.folder}: tokenizer.json splits text like {by_steps!r}, but "
                f"llama.cpp's converter would take it for {hashed!r}; the former is "
                "written"
            )
        return fields_for(by_steps)
    fields = fields_for(str(hashed))
    if not _agree(fields, tokenizer):
        raise UnsupportedModelError(
            f"{files.folder}/tokenizer.json splits text in a way that quantkit does "
            f"not know; llama.cpp's converter would take it for {hashed!r}, which "
            f"splits other texts differently; to write that, give "
            f"`pre_tokenizer={hashed}`; the steps are {described_steps(definition)}"
        )
    return fields


def _agree(fields: Fields, tokenizer: tokenizers.Tokenizer) -> bool:
    """Whether a reader of the fields gives the library's ids for every probe."""
    reader = Tokenizer.from_metadata(fields)
    made = attempt(lambda: [_ids(tokenizer, text) for text in _PROBES])
    return made == [reader.encode(text, False).tolist() for text in _PROBES]


def _ids(tokenizer: tokenizers.Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)
