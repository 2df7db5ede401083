"""Runs of `quantize_file` that are killed at random moments until one completes.

A script, so that killing and forking have a process of their own:

    python tests/killed_runs.py MODEL OUTPUT RECIPE SEED PARAMETERS

PARAMETERS are those of `quantize_file`, as JSON.  A moment is a call or a return, of
Python or of the system, in the modules that write.  Prints, as JSON: how many runs were
killed, what the runs said about those before them, and whether one of those had written
rows.  The report of the run that completed goes to OUTPUT.json.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import traceback
from functools import partial
from pathlib import Path
from typing import Any

from quantkit.files import locks, part_file
from quantkit.output import journal, writing
from quantkit.tasks.quantize import quantize_file

WATCHED = {module.__file__ for module in (journal, locks, part_file, writing)}


MAX_KILLED = 6


class Killer:
    """A profiler that counts the moments of its process, and kills it at one."""

    def __init__(self, moment: int | None) -> None:
        self.moment = moment
        self.n_seen = 0

    def __call__(self, frame: Any, event: str, arg: object) -> None:
        """Called by Python on each call and return."""
        if frame.f_code.co_filename in WATCHED:
            self.n_seen += 1
            if self.n_seen == self.moment:
                os.kill(os.getpid(), signal.SIGKILL)


def is_killed(moment: int, run: partial[Any], report: Path) -> bool:
    """Run in a process of its own that is killed at a moment, if it gets there."""
    child = os.fork()
    if not child:
        try:
            sys.setprofile(Killer(moment))
            made = run()
            sys.setprofile(None)
            made.write_json(report)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if status not in (0, signal.SIGKILL):
        sys.exit(f"a run failed: status {status}")
    return status != 0


def main() -> None:
    """Kill runs until one completes."""
    model, out, recipe, seed, parameters = sys.argv[1:]
    rng = random.Random(int(seed))
    make = partial(quantize_file, model, recipe=recipe, **json.loads(parameters))
    with tempfile.TemporaryDirectory() as folder:
        count = Killer(None)
        sys.setprofile(count)
        make(out=Path(folder, "out.gguf"))
        sys.setprofile(None)
        with Path(folder, "notices").open("w+", buffering=1) as notices:
            run = partial(make, out=out, notify=partial(print, file=notices))
            n_killed, has_rows = 0, False
            journal_file = Path(out).with_name(f".{Path(out).name}.journal")
            report = Path(out).with_suffix(".json")
            while is_killed(
                rng.randrange(1, count.n_seen) if n_killed < MAX_KILLED else 0,
                run,
                report,
            ):
                n_killed += 1
                if journal_file.exists():
                    has_rows |= journal_file.read_bytes().count(b"\n") > 1
            notices.seek(0)
            said = {"notices": notices.read(), "has_rows": has_rows}
            print(json.dumps({"killed": n_killed, **said}))


if __name__ == "__main__":
    main()
