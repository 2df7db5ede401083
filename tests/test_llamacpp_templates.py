"""Go templates give the text of real chat templates: llama.cpp's collection, by Go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from quantkit.publishing.go_template import go_template

from .conftest import FIXTURES
from .go_templates import rendered
from .test_modelfile import BOS, found

pytestmark = pytest.mark.interop

RENDER = FIXTURES / "go" / "render.go"
FEWEST = 66
"""Templates of llama.cpp b11434 that write no more than texts around messages."""


def templates() -> list[Path]:
    """llama.cpp's chat templates, which are those of real models."""
    source = os.environ.get("QUANTKIT_LLAMACPP_SOURCE")
    if source is None:
        pytest.skip("QUANTKIT_LLAMACPP_SOURCE is not set")
    return sorted((Path(source) / "models" / "templates").glob("*.jinja"))


def rendered_by_go(conversations: list[dict[str, Any]]) -> list[str]:
    """The texts of conversations, rendered by Go's text/template."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed (Debian's package golang-go)")
    given = json.dumps(conversations).encode()
    environment = {**os.environ, "GO111MODULE": "off"}
    run = [go, "run", str(RENDER)]
    texts: list[str] = json.loads(
        subprocess.check_output(run, input=given, env=environment)
    )
    return texts


def test_real_templates_in_go() -> None:
    """Every conversation is rendered alike by Jinja, by Go, and by the tests' own."""
    conversations, expected, n_known = [], [], 0
    for path in templates():
        turns, samples = found(path.read_text(encoding="utf-8"))
        n_known += turns is not None
        for messages, text in samples:
            assert turns is not None
            template = go_template(turns)
            system = messages[0]["content"] if messages[0]["role"] == "system" else ""
            conversations.append(
                {"template": template, "system": system, "messages": messages}
            )
            expected.append(text)
            assert rendered(template, messages) == text, path
    assert BOS not in conversations[0]["template"]
    assert n_known >= FEWEST
    assert rendered_by_go(conversations) == expected
