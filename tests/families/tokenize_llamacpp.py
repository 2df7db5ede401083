"""Tokenize texts with llama.cpp, from the vocabularies of GGUF files.

    python tokenize_llamacpp.py FOLDER

FOLDER/texts.json is a list of texts.  For every NAME.gguf in FOLDER it writes
NAME.ids.json: a list of ids for each text, or llama.cpp's messages if it refuses the
file.  Added tokens in a text are found; nothing is put before or after it.  It runs in
an interpreter that has llama-cpp-python, and imports nothing of quantkit.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import llama_cpp

ERROR_LEVEL = 4

messages: list[str] = []


def keep_errors(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    """What llama.cpp logs as an error."""
    if level == ERROR_LEVEL:
        messages.append(text.decode(errors="replace"))


def ids_of(vocabulary: Any, text: str) -> list[int]:
    """The ids of a text; at most one for each byte, and one for a space before it."""
    data = text.encode()
    ids = (llama_cpp.llama_token * (len(data) + 8))()
    n = llama_cpp.llama_tokenize(
        vocabulary, data, len(data), ids, len(ids), False, True
    )
    return list(ids[:n])


def main() -> None:
    """Tokenize all texts with every vocabulary of the folder."""
    folder = Path(sys.argv[1])
    callback = llama_cpp.llama_log_callback(keep_errors)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    texts = json.loads((folder / "texts.json").read_text())
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    for path in sorted(folder.glob("*.gguf")):
        messages.clear()
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        found: Any = "".join(messages)
        if model is not None:
            vocabulary = llama_cpp.llama_model_get_vocab(model)
            found = [ids_of(vocabulary, text) for text in texts]
            llama_cpp.llama_model_free(model)
        path.with_suffix(".ids.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
