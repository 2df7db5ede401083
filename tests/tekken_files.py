"""Small files like Mistral's tekken.json."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

__all__ = ["small_tekken", "write_tekken"]

MERGED = (
    *(b"th", b"he", b"the", b" the", b"in", b"ing", b"\xc3\xa9", b" t", b" a"),
    *(b"an", b"and", b" and", b"er", b"\n\n", b"  ", b"    "),
)
N_SPECIAL = 24
SPECIAL = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "<pad>", "[IMG]")


def small_tekken(version: str = "v3", special: tuple[str, ...] | None = None) -> Any:
    """All bytes, a few tokens of several bytes, and two more that are cut off.

    Args:
        version: of the file; older ones than v11 may list no control tokens.
        special: the control tokens; None: the file lists none.
    """
    tokens = [*(bytes([byte]) for byte in range(256)), *MERGED, b"cut", b"off"]
    vocab = [
        {
            "rank": rank,
            "token_bytes": base64.b64encode(token).decode(),
            "token_str": token.decode("utf-8", "replace"),
        }
        for rank, token in enumerate(tokens)
    ]
    listed = [
        {"rank": rank, "token_str": text, "is_control": True}
        for rank, text in enumerate(special or ())
    ]
    return {
        "config": {
            "pattern": "\\p{L}+|\\s+",
            "num_vocab_tokens": len(tokens),
            "default_vocab_size": N_SPECIAL + 256 + len(MERGED),
            "default_num_special_tokens": N_SPECIAL,
            "version": version,
        },
        "vocab": vocab,
        **({} if special is None else {"special_tokens": listed}),
    }


def write_tekken(folder: Path, content: Any) -> Path:
    """The folder with the file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tekken.json").write_text(json.dumps(content))
    return folder
