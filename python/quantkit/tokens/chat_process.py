"""Run a chat template in a child process with limits of time and memory.

Templates come from model files and are untrusted programs: a short one can loop for
years or fill the memory.  One child renders many conversations.  It is started as a
plain command, so the program that uses quantkit needs no guard for it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import FormatError, OptionError
from . import chat_child

__all__ = ["ChatProcess"]

SECONDS = 20
"""How long a conversation may take; with a real template it takes a millisecond."""
START_SECONDS = 60
"""How long the child may take to start; it takes a tenth of a second."""
MEMORY = 512 << 20
"""Bytes of memory that the child may use; without a template it uses 50 MiB."""
MAX_ANSWER = 64 << 20
"""Bytes of the longest conversation, as JSON."""

# The child finds modules where this process does, also if a program changed sys.path.
_COMMAND = "import sys; sys.path[:] = {path!r}; from {module} import main; main()"
_OUT_OF_TIME = -int(getattr(signal, "SIGXCPU", 1 << 20))  # Windows has none
_NO_PROCESS = (
    "the model's chat template runs in a process of its own, which cannot be started"
)


class ChatProcess:
    """A child process that renders conversations with one template.

    Args:
        template: the Jinja template.
        tokens: texts of "bos_token" and "eos_token", if the model has them.

    Raises:
        OptionError: a process cannot be started.
    """

    def __init__(self, template: str, tokens: Mapping[str, str]) -> None:
        command = _COMMAND.format(path=sys.path, module=chat_child.__name__)
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-c", command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except (OSError, TypeError) as error:
            raise OptionError(f"{_NO_PROCESS}: {error}") from None
        start = {"template": template, "tokens": dict(tokens)}
        try:
            answer = self._answer(
                {**start, "memory": MEMORY, "seconds": SECONDS}, START_SECONDS
            )
        except BaseException:
            self._end()
            raise
        if "error" in answer:
            self._end()
            raise OptionError(f"{_NO_PROCESS}: {answer['error']}")

    def __enter__(self) -> ChatProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self._child.kill()
        self._child.communicate()

    def render(
        self, messages: Sequence[Mapping[str, Any]], *, answering: bool = False
    ) -> str:
        """The text of a conversation.

        Args:
            messages: the messages.
            answering: the text ends where the assistant's answer begins.

        Raises:
            FormatError: the template is damaged, refuses the messages, or needs too
                much time or memory.
        """
        conversation = {"messages": messages, "add_generation_prompt": answering}
        answer = self._answer(conversation, SECONDS)
        if "text" not in answer:
            too_much = f"it needs more than {MEMORY >> 20} MiB of memory"
            raise FormatError(
                "the model's chat template cannot render the messages: "
                f"{answer.get('error', too_much)}"
            )
        text: str = answer["text"]
        return text

    def _answer(self, value: Any, seconds: int) -> dict[str, Any]:
        """The child's answer to a value, or an "error" if it gives none."""
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._child.kill()

        timer = threading.Timer(seconds, stop)
        timer.start()
        try:
            raw = self._exchange(json.dumps(value).encode())
        finally:
            timer.cancel()
        if raw.endswith(b"\n"):
            answer: dict[str, Any] = json.loads(raw)
            return answer
        if len(raw) > MAX_ANSWER:
            return {"error": f"the text has more than {MAX_ANSWER >> 20} MiB"}
        code = self._child.wait()
        if late.is_set() or code == _OUT_OF_TIME:
            return {"error": f"it did not finish in {seconds} seconds"}
        return {"error": f"its process ended with exit code {code}"}

    def _exchange(self, value: bytes) -> bytes:
        """Send a line and receive one, which is incomplete if the child ends."""
        assert self._child.stdin is not None  # for mypy
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(value + b"\n")
            self._child.stdin.flush()
        except OSError:  # a broken pipe
            return b""
        return self._child.stdout.readline(MAX_ANSWER + 1)
