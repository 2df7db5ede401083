"""What llama.cpp makes of prompts, greedily: the next tokens and their text.

    python greedy_llamacpp.py REQUESTS.json

REQUESTS.json is a list of {"file", "text", "ids", "n"}.  It prints a list of
{"ids": of the text by llama.cpp's tokenizer, "next": n tokens after the given ids,
"text": their text}.  It runs in an interpreter that has llama-cpp-python; that may be
another one than that of the tests, so nothing of quantkit is imported.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import llama_cpp


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What a file says after a prompt."""
    model = llama_cpp.Llama(
        request["file"],
        n_ctx=512,
        n_threads=1,
        n_threads_batch=1,
        verbose=False,
    )
    given = [int(each) for each in request["ids"]]
    tokens: list[int] = []
    for token in model.generate(given, temp=0.0, repeat_penalty=1.0):
        if token == model.token_eos() or len(tokens) == request["n"]:
            break
        tokens.append(token)
    text = model.detokenize(tokens, prev_tokens=given).decode("utf-8", "ignore")
    ids = model.tokenize(request["text"].encode(), add_bos=True, special=True)
    return {"ids": ids, "next": tokens, "text": text}


if __name__ == "__main__":
    requests = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(json.dumps([answer(request) for request in requests]))
