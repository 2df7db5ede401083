"""Run the command line: in a process of its own, or in this one, which starts at once.

Both give what a shell sees.  In this process, a command is what `python -m quantkit`
runs but for the handling of Ctrl-C while Python starts and ends.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

from quantkit.cli.main import run as main

__all__ = ["alone", "run"]

Done = subprocess.CompletedProcess[str]


def alone(*arguments: str | Path, **environment: str) -> Done:
    """The installed command in a process of its own."""
    paths = os.pathsep.join(sys.path)
    return subprocess.run(
        [sys.executable, "-m", "quantkit", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, **environment},
    )


def run(*arguments: str | Path, **environment: str) -> Done:
    """The same in this process."""
    words = ["quantkit", *map(str, arguments)]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    log = logging.getLogger()
    handlers, on_interrupt = log.handlers, signal.getsignal(signal.SIGINT)
    log.handlers = []  # so that the command shows warnings itself
    code = 0
    try:
        with (
            patch.object(sys, "argv", words),
            patch.object(sys, "stdout", out),
            patch.object(sys, "stderr", err),
            patch.dict(os.environ, environment),
        ):
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        log.handlers = handlers
        signal.signal(signal.SIGINT, on_interrupt)
    texts = []
    for stream in (out, err):
        stream.flush()
        stream.seek(0)
        texts.append(stream.read())
    return Done(words, code, *texts)
