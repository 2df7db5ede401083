"""Files of the demo model, as a user makes them: converted, quantized, calibrated."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quantkit import Calibration, convert, quantize_file
from quantkit.gguf.reader import GGUFFile
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens.chat import ChatTemplate
from quantkit.tokens.tokenizer import Tokenizer

__all__ = ["MESSAGES", "N_NEW", "PROMPT", "Made", "greedy", "interpreter", "make_files"]

N_NEW = 24
"""Tokens to predict."""
PROMPT = "No one would have believed in the last years of the"
MESSAGES = [
    {"role": "system", "content": "You are a captain."},
    {"role": "user", "content": "Tell me of the sea, <s>and of the wind."},
]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ message['role'] | upper }}: {{ message['content'] | trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
BEGUN = "ASSISTANT:"
"""What the template puts before an answer."""
GREEDY = Path(__file__).with_name("greedy_llamacpp.py")


@dataclass(frozen=True)
class Made:
    """The files of a folder, by what they are.

    Attributes:
        checkpoint: the demo model with a chat template.
        files: "F16", "Q4_K_M", "IQ4_XS", and "Q4_0-calibrated".
        prompt: the tokens of the prompt.
        rendered: the messages, by quantkit's use of the template, and `BEGUN`.
        chat: its tokens.
    """

    checkpoint: Path
    files: dict[str, Path]
    prompt: list[int]
    rendered: str
    chat: list[int]


def make_files(folder: Path) -> Made:
    """Convert, quantize and calibrate the demo model."""
    checkpoint = folder / "demo"
    shutil.copytree(DEMO_MODEL, checkpoint)
    path = checkpoint / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "chat_template": CHAT_TEMPLATE}))
    names = ("F16", "Q4_K_M", "IQ4_XS", "Q4_0-calibrated")
    files = {name: folder / f"{name}.gguf" for name in names}
    convert(checkpoint, files["F16"], "f16")
    for name in ("Q4_K_M", "IQ4_XS"):
        quantize_file(checkpoint, files[name], name)
    calibration = Calibration(DEMO_TEXT, tokens=2048)
    quantize_file(checkpoint, files[names[-1]], "Q4_0", calibration=calibration)
    with GGUFFile(files["Q4_K_M"]) as file:
        tokenizer = Tokenizer.from_metadata(file.metadata)
        rendered = ChatTemplate.of(file.metadata).render(MESSAGES) + BEGUN
        prompt = [int(i) for i in tokenizer.encode(PROMPT)]
        chat = [int(i) for i in tokenizer.encode(rendered, False, True)]
    return Made(checkpoint, files, prompt, rendered, chat)


def greedy(
    python: str, asked: list[tuple[Path, str, list[int]]], folder: Path
) -> list[dict[str, Any]]:
    """What llama.cpp makes of a text and its tokens, for each file."""
    requests = [
        {"file": str(path), "text": text, "ids": ids, "n": N_NEW}
        for path, text, ids in asked
    ]
    path = folder / "requests.json"
    path.write_text(json.dumps(requests), encoding="utf-8")
    out = subprocess.check_output([python, str(GREEDY), str(path)], text=True)
    answers: list[dict[str, Any]] = json.loads(out)
    return answers


def interpreter(variable: str, *modules: str) -> str:
    """The Python that a variable names, which has these modules; else skipped."""
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} names no interpreter")
    command = [python, "-c", f"import {', '.join(modules)}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{variable}: {done.stderr.strip().splitlines()[-1]}")
    return python
