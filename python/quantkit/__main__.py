"""`quantkit` and `python -m quantkit`: the command line.

Ctrl-C ends it with one line and exit code 130.  During imports and after the command
there is nothing to clean up, so the process exits at once.  In between, the command
gets a KeyboardInterrupt.  While Python itself ends, with the work done, it is ignored.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGINT, _stop)
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    from .cli.main import run

    try:
        run()
    finally:
        signal.signal(signal.SIGINT, _stop)


def _stop(*_: object) -> NoReturn:
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"quantkit: stopped\n")
    os._exit(130)


if __name__ == "__main__":
    main()
