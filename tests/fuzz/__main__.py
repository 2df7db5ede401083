"""Run the fuzzer on one reader, or one input: see the package."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("reader", help="a harness in readers.py")
    parser.add_argument("input", nargs="?", help="run this file once, without atheris")
    parser.add_argument("--seconds", type=int, default=60, help="how long to fuzz")
    parser.add_argument("--corpus", help="a folder that keeps inputs for the next run")
    parser.add_argument("--found", default=".", help="the folder for inputs that fail")
    given = parser.parse_args()
    if given.input is not None:
        from .driver import run_input

        run_input(given.reader, Path(given.input).read_bytes())
        return
    with tempfile.TemporaryDirectory() as temporary:
        corpus = Path(given.corpus or temporary)
        corpus.mkdir(parents=True, exist_ok=True)
        fuzz(given.reader, given.seconds, corpus, given.found)


def fuzz(name: str, seconds: int, corpus: Path, found: str) -> None:
    """Fuzz until the time is up, or an input fails; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["quantkit"]):
        from .driver import MEMORY, SECONDS, cases_of, run_input
        from .readers import READERS

    known = [path.read_bytes() for path in cases_of(name)]
    for i, seed in enumerate((*READERS[name].seeds, *known)):
        (corpus / f"seed-{i}").write_bytes(seed)
    options = [
        *(f"-max_total_time={seconds}", f"-timeout={2 * SECONDS}", "-max_len=65536"),
        *(f"-rss_limit_mb={2 * MEMORY >> 20}", f"-artifact_prefix={found}/"),
        "-print_final_stats=1",
    ]
    run = lambda data: run_input(name, data)  # noqa: E731
    atheris.Setup([sys.argv[0], *options, str(corpus)], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
