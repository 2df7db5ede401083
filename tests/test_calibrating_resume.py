"""A calibration that is killed or stopped goes on at its layer, to the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.calibrating.calibrated import Calibrated
from quantkit.calibrating.calibration import Calibration, Effort
from quantkit.calibrating.run import calibrate
from quantkit.errors import OutputError, QuantkitError
from quantkit.gguf.source import ModelSource
from quantkit.quantizing.slabs import slabs_of
from quantkit.sources.opening import open_source
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens.options import TextOptions
from quantkit.types import QuantType

TEXT = DEMO_TEXT.read_text(encoding="utf-8")[:5000]
N_LAYERS = 4

KILLED = """
import os, signal, sys
from pathlib import Path
from quantkit.calibrating import parts
from tests.test_calibrating_resume import calibrated

solve, left = parts.solve, [int(sys.argv[2])]

def solve_or_die(*arguments):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return solve(*arguments)

parts.solve = solve_or_die
calibrated(Path(sys.argv[1]), sys.argv[3])
"""


def model_and_types() -> tuple[ModelSource, dict[str, QuantType]]:
    """The demo model, its layers as Q4_0."""
    source = open_source(DEMO_MODEL)
    types = {
        name: QuantType.Q4_0
        if name.startswith("blk.") and len(tensor.shape) > 1
        else tensor.type
        for name, tensor in source.tensors.items()
    }
    return source, types


def calibrated(
    work: Path | None,
    effort: Effort = "fast",
    progress: Callable[[str, int, int], None] | None = None,
    text: str = TEXT,
) -> Calibrated:
    """Calibrate the demo model on a little text."""
    calibration = Calibration([text], 1024, effort, TextOptions(ctx=64))
    source, types = model_and_types()
    return calibrate(
        source, types, calibration, work=work, threads=1, progress=progress
    )


def rows_of(found: Calibrated) -> dict[str, NDArray[np.uint8]]:
    """The bytes of all calibrated tensors; removes their files."""
    source, types = model_and_types()
    rows = {}
    with found:
        for name in found.gains:
            tensor = source.tensors[name]
            slabs = slabs_of(tensor, types[name], found.of(tensor))
            rows[name] = np.concatenate([slab.convert() for slab in slabs])
    return rows


def same(one: Calibrated, other: Calibrated) -> bool:
    """Whether bytes, gains and importance are equal."""
    is_same = one.gains == other.gains and all(
        np.array_equal(one.importance[name], other.importance[name])
        for name in one.importance.keys() | other.importance.keys()
    )
    rows, others = rows_of(one), rows_of(other)
    return is_same and all(np.array_equal(rows[name], others[name]) for name in rows)


@pytest.mark.parametrize(
    "effort", ["fast", pytest.param("best", marks=pytest.mark.slow)]
)
def test_a_killed_run_goes_on_at_its_layer(effort: Effort, tmp_path: Path) -> None:
    """What was finished is not computed again."""
    work = tmp_path / "work"
    n_solved = 18  # seven matrices of each layer: in the third one
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(work), str(n_solved), effort],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(["", *sys.path])},
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == -signal.SIGKILL
    seen: list[int] = []
    found = calibrated(work, effort, lambda stage, done, total: seen.append(done))
    assert seen == [2, 3, 4, N_LAYERS + 1]
    assert same(found, calibrated(None, effort))
    assert not work.exists()


def stopped(work: Path) -> None:
    """A run that is stopped by Ctrl-C after its second layer."""

    def stop(stage: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrated(work, progress=stop)


@pytest.mark.slow
def test_other_texts_and_damaged_rows_begin_anew(tmp_path: Path) -> None:
    """Nothing of an earlier run is used that does not fit."""
    seen: list[int] = []

    def see(stage: str, done: int, total: int) -> None:
        seen.append(done)

    stopped(tmp_path / "work")
    calibrated(tmp_path / "work", progress=see, text=TEXT[1:]).close()
    assert seen[0] == 1
    for damaged in ("rows-1-0", "stream-0-0-chunks"):
        stopped(tmp_path / "work")
        with (tmp_path / "work" / damaged).open("r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))
        seen.clear()
        assert same(calibrated(tmp_path / "work", progress=see), calibrated(None))
        assert seen[-1] == N_LAYERS + 1
        assert 1 in seen


def test_a_folder_serves_one_process(tmp_path: Path) -> None:
    """Another one is refused; an error removes the folder, but not others' files."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "notes.txt").write_text("mine")
    with calibrated(work), pytest.raises(OutputError, match="another process"):
        calibrated(work)
    assert [each.name for each in work.iterdir()] == ["notes.txt"]

    def fail(stage: str, done: int, total: int) -> None:
        raise QuantkitError("no more")

    with pytest.raises(QuantkitError, match="no more"):
        calibrated(work, progress=fail)
    assert [each.name for each in work.iterdir()] == ["notes.txt"]
