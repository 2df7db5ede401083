"""Collecting that is killed or stopped goes on, or starts anew, to the same sums."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quantkit.collecting.collection import Collection, imatrix
from quantkit.errors import OutputError
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens.options import TextOptions

from .test_imatrix_collecting import same

TEXT = DEMO_TEXT.read_text(encoding="utf-8")[:6000]
N_CHUNKS = 4
SMALL: dict[str, Any] = {"options": TextOptions(ctx=64, chunks=N_CHUNKS), "threads": 1}

KILLED = """
import os, signal, sys
from pathlib import Path
from quantkit.tokens.options import TextOptions
from quantkit.collecting.collection import Collection

def kill(stage, done, total):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)

model, text, kept = map(Path, sys.argv[1:4])
options = {"options": TextOptions(ctx=64, chunks=5), "threads": 1}
collection = Collection(model, text, save=kept, save_every=2, **options)
collection.run(kill)
"""


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """From the sums that were kept last, to the same bits."""
    text, kept = tmp_path / "text.txt", tmp_path / "kept"
    text.write_text(TEXT, encoding="utf-8")
    options = {**SMALL, "options": TextOptions(ctx=64, chunks=5)}
    arguments = map(str, (DEMO_MODEL, text, kept))
    command = [sys.executable, "-c", KILLED, *arguments]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == -signal.SIGKILL
    assert [each.name for each in sorted(tmp_path.iterdir())] == ["kept", "text.txt"]
    seen: list[int] = []
    found = imatrix(
        *(DEMO_MODEL, text),
        **options,
        save=kept,
        progress=lambda stage, done, total: seen.append(done),
    )
    assert seen == [3, 4, 5]
    whole = imatrix(DEMO_MODEL, text, **options)
    assert same(found, whole)
    assert found.perplexity is not None
    assert whole.perplexity is not None
    assert found.perplexity.ppl == whole.perplexity.ppl
    assert same(imatrix(DEMO_MODEL, text, **options, save=kept), whole)


def test_more_chunks_go_on_and_other_options_start_anew(tmp_path: Path) -> None:
    """Sums are of what they were kept of, and of nothing else."""
    kept = tmp_path / "kept"
    imatrix(DEMO_MODEL, TEXT, **SMALL, save=kept)

    def steps(**changes: Any) -> list[int]:
        seen: list[int] = []
        options = {"text": TEXT, **SMALL, **changes}
        Collection(DEMO_MODEL, **options, save=kept).run(
            lambda stage, done, total: seen.append(done)
        )
        return seen

    state = kept.read_bytes()
    assert steps(options=TextOptions(ctx=64, chunks=6)) == [5, 6]
    changes: list[dict[str, Any]] = [
        {"options": TextOptions(ctx=66, chunks=N_CHUNKS)},
        {"text": TEXT[100:]},
        {"activations": "f32"},
        {"process_output": True},
        {"perplexity": False},
        {"options": TextOptions(ctx=64, chunks=3)},
    ]
    for change in changes:
        kept.write_bytes(state)
        n = change.get("options", SMALL["options"]).chunks
        assert steps(**change) == list(range(1, n + 1)), change


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_damaged_sums_are_not_taken_up(tmp_path: Path, damage: str) -> None:
    """The run starts anew."""
    kept = tmp_path / "kept"
    options: dict[str, Any] = {**SMALL, "save": kept}
    found = imatrix(DEMO_MODEL, TEXT, **options)
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    broken = {"cut": data[: len(data) // 2], "flipped": data, "empty": bytearray()}
    kept.write_bytes(broken[damage])
    seen: list[int] = []
    again = imatrix(
        DEMO_MODEL, TEXT, **options, progress=lambda stage, done, _: seen.append(done)
    )
    assert seen == [1, 2, 3, 4]
    assert same(found, again)


@pytest.mark.parametrize("content", [b"PK, but nothing more", b"GGUF\3\0\0\0", b"text"])
def test_a_file_of_something_else_is_not_written_over(
    tmp_path: Path, content: bytes
) -> None:
    """It may be the model, the text, or a matrix that was meant to be saved there."""
    kept = tmp_path / "kept"
    kept.write_bytes(content)
    with pytest.raises(OutputError, match=r"`save` keeps .*holds something else"):
        imatrix(DEMO_MODEL, TEXT, **SMALL, save=kept)
    assert kept.read_bytes() == content
