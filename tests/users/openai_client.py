"""Ask llama-cpp-python's server for everything by the `openai` client.

    python openai_client.py BASE_URL REQUESTS.json

REQUESTS.json is {"prompt", "messages", "n"}.  It prints {"models": names, "answers": by
model what `answers` returns}.  It runs in an interpreter that has openai, so nothing of
quantkit is imported.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import openai


def answers(client: openai.OpenAI, model: str, asked: dict[str, Any]) -> dict[str, Any]:
    """What a model says, whole and in pieces."""
    plain = {"repeat_penalty": 1.0}  # the server's own default is 1.1
    same = {
        "model": model,
        "max_tokens": asked["n"],
        "temperature": 0,
        "extra_body": plain,
    }
    complete, chat = client.completions.create, client.chat.completions.create
    text = {"prompt": asked["prompt"], **same}
    talk = {"messages": asked["messages"], **same}
    whole, said = complete(**text), chat(**talk)
    # a request ends the stream of the one before it, so each is read at once
    pieces = [piece.choices[0].text for piece in complete(stream=True, **text)]
    words = [piece.choices[0].delta.content for piece in chat(stream=True, **talk)]
    return {
        "completion": whole.choices[0].text,
        "streamed_completion": "".join(pieces),
        "chat": said.choices[0].message.content,
        "streamed_chat": "".join(word or "" for word in words),
        "pieces": len(pieces),
        "prompt_tokens": [whole.usage.prompt_tokens, said.usage.prompt_tokens],
    }


if __name__ == "__main__":
    client = openai.OpenAI(base_url=sys.argv[1], api_key="none")
    asked = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    models = sorted(model.id for model in client.models.list().data)
    found = {model: answers(client, model, asked) for model in models}
    print(json.dumps({"models": models, "answers": found}))
