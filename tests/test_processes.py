"""Other processes open the inputs themselves, and give the same results."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit._native import active_backend
from quantkit.calibrating.calibration import Calibration
from quantkit.collecting.collection import imatrix
from quantkit.errors import (
    BackendError,
    FormatError,
    NonFiniteError,
    OptionError,
    QuantkitError,
)
from quantkit.evaluate import compare, perplexity
from quantkit.execution.opened import Shared
from quantkit.execution.workers import Pool, Threads, Workers
from quantkit.gguf.reader import GGUFFile
from quantkit.gguf.source import SourceTensor
from quantkit.inference.shared import model_opener
from quantkit.quantizing.slabs import Slab, slabs_of
from quantkit.sources.checkpoint import CheckpointSource
from quantkit.sources.opening import open_source
from quantkit.tasks.convert import convert
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tasks.quantize import quantize_file
from quantkit.tasks.verify import verify_file
from quantkit.tokens.options import TextOptions
from quantkit.types import QuantType

from .families.lettered import lettered_text
from .small_model import small_model

SMALL: dict[str, Any] = {"options": TextOptions(ctx=64, chunks=3)}


@pytest.fixture(scope="module")
def processes() -> Iterator[Workers]:
    """Two processes that inherit nothing but the environment."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        yield Pool(executor, 2)


@pytest.fixture(scope="module")
def demo_f16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "f16.gguf"
    convert(DEMO_MODEL, path, "f16")
    return path


@pytest.mark.parametrize("kind", ["checkpoint", "GGUF file"])
def test_processes_write_the_file_that_threads_write(
    kind: str, processes: Workers, demo_f16: Path, tmp_path: Path
) -> None:
    """With importance, from a source of either kind, and with layers taken out."""
    model = DEMO_MODEL if kind == "checkpoint" else demo_f16
    importance = {
        name: np.linspace(0.5, 2, tensor.n_cols, dtype=np.float32)
        for name, tensor in open_source(model).tensors.items()
        if len(tensor.shape) == 2
    }
    both: tuple[int | Workers, ...] = (1, processes)
    reports = [
        quantize_file(
            *(model, tmp_path / f"{i}.gguf", "Q4_K_M"),
            importance=importance,
            measure=True,
            threads=workers,
        )
        for i, workers in enumerate(both)
    ]
    one, other = ((tmp_path / f"{i}.gguf").read_bytes() for i in range(2))
    assert one == other
    assert [t.errors for t in reports[0].tensors] == [
        t.errors for t in reports[1].tensors
    ]


def test_processes_compare_files_as_threads_do(
    processes: Workers, demo_f16: Path, tmp_path: Path
) -> None:
    """The rows that differ are found there, too."""
    made = tmp_path / "made.gguf"
    quantize_file(demo_f16, made, "Q4_0", provenance=True)
    assert verify_file(made, demo_f16, threads=processes).is_equal
    data = bytearray(made.read_bytes())
    data[-1] ^= 1
    made.write_bytes(data)
    found = [verify_file(made, demo_f16, threads=w) for w in (1, processes)]
    assert not found[0].is_equal
    assert found[0].tensors == found[1].tensors


def test_processes_write_and_compare_calibrated_rows(
    processes: Workers, tmp_path: Path
) -> None:
    """They read the rows that this process has solved."""
    model = small_model(tmp_path / "model.gguf")
    text = lettered_text(tmp_path / "text.txt", 500)
    given = Calibration([text], 64, options=TextOptions(ctx=16))
    both: tuple[int | Workers, ...] = (1, processes)
    made = [tmp_path / f"{i}.gguf" for i in range(2)]
    for path, workers in zip(made, both, strict=True):
        quantize_file(
            model, path, "Q4_0", calibration=given, provenance=True, threads=workers
        )
    assert made[0].read_bytes() == made[1].read_bytes()
    for workers in both:
        assert verify_file(
            made[0], model, calibration_texts=text, threads=workers
        ).is_equal


def test_processes_measure_what_threads_measure(
    processes: Workers, demo_f16: Path
) -> None:
    """Perplexity, divergence and every other figure, to the last bit."""
    text = DEMO_TEXT.read_text()[:3000]
    alone = [
        perplexity(demo_f16, text, recipe="Q4_0", **SMALL, threads=workers).nll
        for workers in (2, processes)
    ]
    assert (alone[0] == alone[1]).all()
    types = ["Q8_0", "Q2_K", "Q4_0"]
    found = [
        compare(demo_f16, types, text=text, **SMALL, threads=workers, memory=memory)
        for workers, memory in ((2, None), (processes, None), (processes, 0))
    ]
    for name, scores in found[0].scores.items():
        for again in found[1:]:
            for one, other in zip(scores, again.scores[name], strict=True):
                assert (one.nll == other.nll).all()
                assert (one.kld == other.kld).all()
                assert (one.same_top == other.same_top).all()


def test_processes_do_not_measure_calibrated_types(
    processes: Workers, tmp_path: Path
) -> None:
    """They do not have the rows that this process would solve."""
    model = small_model(tmp_path / "model.gguf")
    text = lettered_text(tmp_path / "text.txt", 500)
    with pytest.raises(OptionError, match="`calibration` is measured by threads or"):
        compare(
            *(model, ["Q4_0"]),
            text=text,
            options=TextOptions(ctx=16, chunks=2),
            calibration=Calibration([text], 64, options=TextOptions(ctx=16)),
            threads=processes,
        )


def test_processes_sum_what_threads_sum(processes: Workers, demo_f16: Path) -> None:
    """Importance matrices, with the output head and the perplexity."""
    text = DEMO_TEXT.read_text()[:3000]
    one, other = (
        imatrix(demo_f16, text, **SMALL, process_output=True, threads=workers)
        for workers in (2, processes)
    )
    assert one.sums.keys() == other.sums.keys()
    for name, sums in one.sums.items():
        assert (sums.squares == other.sums[name].squares).all()
        assert (sums.counts == other.sums[name].counts).all()
    assert one.perplexity is not None
    assert other.perplexity is not None
    assert (one.perplexity.nll == other.perplexity.nll).all()


def test_errors_come_back_from_other_processes(
    processes: Workers, tmp_path: Path, demo_f16: Path
) -> None:
    """As the errors that they are, and the processes work on."""
    damaged = tmp_path / "damaged.gguf"
    with GGUFFile(demo_f16) as file:
        at = file.locations["blk.0.ffn_up.weight"].offset
    data = bytearray(demo_f16.read_bytes())
    data[at : at + 2] = b"\x00\x7e"
    damaged.write_bytes(data)
    for _ in range(2):
        with pytest.raises(NonFiniteError, match=r"blk\.0\.ffn_up\.weight"):
            quantize_file(damaged, tmp_path / "q.gguf", "Q4_0", threads=processes)
    assert sorted(tmp_path.iterdir()) == [damaged]


@pytest.mark.parametrize("kind", ["checkpoint", "GGUF file"])
def test_a_piece_of_work_carries_no_weights(kind: str, demo_f16: Path) -> None:
    """It says which rows of which tensor of which files, in which type."""
    source = open_source(DEMO_MODEL if kind == "checkpoint" else demo_f16)
    slab = next(iter(slabs_of(source.tensors["token_embd.weight"], QuantType.Q8_0)))
    pickled = pickle.dumps(slab)
    assert len(pickled) < 3000
    assert (pickle.loads(pickled).convert() == slab.convert()).all()


def test_a_file_that_changed_is_not_opened_elsewhere(tmp_path: Path) -> None:
    """What another process read of it would be of another model."""
    path = tmp_path / "model.gguf"
    convert(DEMO_MODEL, path, "f16")
    opener = pickle.loads(pickle.dumps(GGUFFile(path).opener))
    assert opener.open().tensors.keys() == GGUFFile(path).tensors.keys()
    os.utime(path, ns=(1, 1))
    with pytest.raises(FormatError, match="changed while it was in use"):
        opener.open()


def test_other_processes_may_work_in_another_folder(
    tmp_path: Path, demo_f16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that was relative here is not read from there."""
    monkeypatch.chdir(demo_f16.parent)
    opener = pickle.dumps(GGUFFile(demo_f16.name).opener)
    monkeypatch.chdir(DEMO_MODEL.parent)
    folder = pickle.dumps(CheckpointSource(DEMO_MODEL.name).opener)
    monkeypatch.chdir(tmp_path)
    for pickled in (opener, folder):
        assert "token_embd.weight" in pickle.loads(pickled).open().tensors


def test_models_are_loaded_on_the_backend_that_the_work_began_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Figures of two backends differ in their last digits, so they are not mixed."""
    if active_backend().name == "scalar":
        pytest.skip("there is no second backend here")
    opener = model_opener(open_source(DEMO_MODEL))
    assert opener is not None
    monkeypatch.setenv("QUANTKIT_BACKEND", "scalar")
    with pytest.raises(BackendError, match="QUANTKIT_BACKEND"):
        opener.open()


def test_what_is_not_read_from_files_stays_here() -> None:
    """The error says so, instead of that of pickle."""
    with pytest.raises(QuantkitError, match="not read from files"):
        pickle.dumps(Shared(None, 3))
    tensor = SourceTensor(
        "t", (1, 32), QuantType.F32, lambda a, b: np.zeros((b - a, 128), np.uint8)
    )
    slab = Slab(tensor, 0, 1, QuantType.Q8_0)
    assert (slab.convert() == 0).all()
    with pytest.raises(QuantkitError, match="tensor 't' is read by a function that"):
        pickle.dumps(slab)


def test_a_pool_whose_worker_dies_says_so() -> None:
    """In place of an error of the executor's own class, and nothing hangs."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        with pytest.raises(QuantkitError, match="a worker of the pool ended"):
            list(Pool(executor, 1).in_order(os._exit, range(4)))
        with pytest.raises(QuantkitError, match="a worker of the pool ended"):
            list(Pool(executor, 1).in_order(abs, range(4)))


def test_a_pool_that_is_shut_down_is_refused() -> None:
    """The message says what is wrong with it."""
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(OptionError, match=r"the pool takes no work.*shut down"):
        list(Pool(executor, 1).in_order(abs, range(4)))


def test_workers_stop_when_nobody_listens() -> None:
    """A generator that is closed cancels what has not begun."""
    seen: list[int] = []
    results = Threads(1).in_order(seen.append, range(100))
    assert next(results)[0] == 0
    results.close()
    assert len(seen) < 10
