"""`quantkit` and `python -m quantkit`: the command line.

Ctrl-C ends it with one line and exit code 130 at any moment.  While modules are
imported, and once the command is done, nothing has to be put in order, and the process
just ends; in between, the command is interrupted as Python programs are.
"""

from __future__ import annotations

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
