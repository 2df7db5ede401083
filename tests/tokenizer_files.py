"""Small tokenizer files: byte-level BPE, and the merges of a SentencePiece model."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

__all__ = ["SMOLLM_STEPS", "byte_letters", "byte_level", "piece_merges", "write"]

Json = dict[str, Any]

SMOLLM_STEPS: Json = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
    ],
}


def byte_letters() -> list[str]:
    """GPT-2's letter for each of the 256 bytes."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


def _added(number: int, content: str, special: bool = False) -> Json:
    """An entry of `added_tokens`."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, "special": special, **flags}


def byte_level(*merges: tuple[str, str], added: tuple[Json, ...] = ()) -> Json:
    """A tokenizer.json of the 256 bytes, the given merges, and added tokens after."""
    tokens = byte_letters() + ["".join(pair) for pair in merges]
    return {
        "added_tokens": [
            _added(len(tokens) + i, **token) for i, token in enumerate(added)
        ],
        "normalizer": None,
        "pre_tokenizer": deepcopy(SMOLLM_STEPS),
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [list(pair) for pair in merges],
        },
    }


def piece_merges(letters: str, *merges: tuple[str, str]) -> Json:
    """A tokenizer.json with the merges of a SentencePiece model, and its 256 bytes."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = ["<unk>", "<s>", "</s>", *bytes_, *map("".join, merges), *letters]
    return {
        "added_tokens": [_added(i, content=tokens[i], special=True) for i in range(3)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "byte_fallback": True,
            "fuse_unk": True,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [" ".join(pair) for pair in merges],
        },
    }


def write(folder: Path, **files: Json) -> Path:
    """`folder` with each of `files` as NAME.json."""
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
