"""Render a chat template in a process of its own, which has limits.

`chat_process` starts it.  It reads one JSON object per line: first the template and the
limits, then one conversation after the other: its messages, and whether the answer of
the assistant comes next.  It answers each with an object that has "text", or "error",
or neither; to a conversation that means that the memory was not enough.

It imports nothing else of quantkit, so that it starts quickly and needs little memory.
Templates run in Jinja's sandbox, so they can change nothing and access only what they
are passed.
Source of what a template may use: transformers' documentation ("Chat templates").
"""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import suppress
from datetime import datetime
from typing import Any

__all__ = ["Template", "answer", "main"]

MAX_ERROR = 300
"""Characters of an error that are passed on."""


def main() -> None:
    """Answer the lines of stdin on stdout until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at Ctrl-C the parent ends this
    start = json.loads(sys.stdin.buffer.readline())
    template = Template(start["template"], start["tokens"])
    _limit("RLIMIT_AS", start["memory"])
    _limit("RLIMIT_CORE", 0)
    _limit("RLIMIT_FSIZE", 0)
    _send(b"{}")
    for line in sys.stdin.buffer:
        # So that it also ends if the parent is killed meanwhile.
        _limit("RLIMIT_CPU", int(time.process_time()) + start["seconds"] + 1)
        _send(answer(template, line))


def _send(raw: bytes) -> None:
    sys.stdout.buffer.write(raw + b"\n")
    sys.stdout.buffer.flush()


class Template:
    """A Jinja template; compiled when it is first used, because that can fail."""

    def __init__(self, text: str, tokens: dict[str, str]) -> None:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        self._text = text
        self._tokens = tokens
        self._compiled: Any = None
        self._environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        self._environment.filters["tojson"] = _to_json
        self._environment.globals["raise_exception"] = _raise
        self._environment.globals["strftime_now"] = _now

    def render(self, messages: Any, add_generation_prompt: bool = False) -> str:
        """The text of a conversation; any error may come out."""
        if self._compiled is None:
            self._compiled = self._environment.from_string(self._text)
        text: str = self._compiled.render(
            messages=messages,
            add_generation_prompt=add_generation_prompt,
            **self._tokens,
        )
        return text


def answer(template: Template, line: bytes) -> bytes:
    """The answer to a line, a conversation as JSON."""
    try:
        return json.dumps({"text": template.render(**json.loads(line))}).encode()
    except MemoryError:
        return b"{}"
    except Exception as error:  # an untrusted program may raise anything
        text = type(error).__name__
        with suppress(Exception):
            text = str(error)[:MAX_ERROR] or text
        return json.dumps({"error": text}).encode()


def _limit(name: str, value: int) -> None:
    """Limit what this process may use, where the system can."""
    # Windows has no such module, and macOS has limits that cannot be set.
    with suppress(ImportError, OSError, ValueError):
        import resource

        which = getattr(resource, name)
        _, hard = resource.getrlimit(which)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(which, (value, hard))


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> None:
    raise ValueError(message)


def _now(pattern: str) -> str:
    return datetime.now().strftime(pattern)
