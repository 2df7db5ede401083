"""Which worker of a cluster does what, without a cluster: in a scripted one."""

from __future__ import annotations

import gc
import pickle
import random
import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import pytest

from quantkit import use_cluster
from quantkit._native import active_backend
from quantkit.errors import BackendError, FormatError, OptionError, QuantkitError
from quantkit.execution.carried import Carried
from quantkit.execution.cluster import running
from quantkit.execution.cluster.address import Address
from quantkit.execution.cluster.board import Board
from quantkit.execution.cluster.facts import (
    common_backend,
    facts_here,
    refuse_other,
    refuse_unable,
)
from quantkit.execution.cluster.interrupts import terminable, uninterrupted
from quantkit.execution.cluster.parcels import Packer, Parcel, Unpacker
from quantkit.execution.cluster.pieces import Done, Raised
from quantkit.execution.cluster.running import in_order
from quantkit.execution.cluster.serving import Server
from quantkit.execution.opened import Shared
from quantkit.execution.workers import Threads, by_default, in_this_process, workers_of
from quantkit.gguf.reader import GGUFFile
from quantkit.gguf.shipping import described
from quantkit.quantizing.slabs import Slab, slabs_of
from quantkit.types import QuantType

from .scripted_team import Job, Script, ScriptedTeam
from .small_model import small_model

ONE_SECOND = [Job(i) for i in range(60)]


def results(team: ScriptedTeam, jobs: Sequence[Job]) -> list[int]:
    found = list(in_order(Board(team), jobs, list))
    assert [job for job, _ in found] == list(jobs)
    return [result for _, result in found]


@pytest.mark.parametrize("first", range(0, 150, 30))
def test_results_are_in_order_whatever_happens(first: int) -> None:
    """Workers of all speeds die at any time, and others come."""
    for seed in range(first, first + 30):
        one_run(random.Random(seed))


def one_run(rng: random.Random) -> None:
    n = rng.randint(1, 6)
    jobs = [Job(i, rng.choice([0.001, 0.1, 1, 5])) for i in range(rng.randint(0, 80))]
    script = Script(
        slots=[rng.randint(1, 4) for _ in range(n)],
        speeds=[rng.choice([0.1, 1, 1, 3]) for _ in range(n)],
        deaths=sorted(rng.uniform(0, 30) for _ in range(rng.randint(0, 2))),
    )
    team = ScriptedTeam(script)
    assert results(team, jobs) == [job.value**2 for job in jobs]


def test_only_a_few_items_are_in_memory() -> None:
    """The first takes long, and the others wait for it."""
    taken: list[int] = []

    def items() -> Iterator[Job]:
        for i in range(1000):
            taken.append(i)
            yield Job(i, seconds=0.001 if i else 0.4)

    team = ScriptedTeam(Script([2, 1], [1, 1]))
    most = running.AHEAD * running.MOST_TOGETHER * 3
    for job, _ in in_order(Board(team), items(), list):
        assert len(taken) - job.value <= most
    assert len(taken) == 1000


def test_short_items_travel_together() -> None:
    """A few from the start, since nobody knows yet how short they are."""
    team = ScriptedTeam(Script([1, 1], [1, 1]))
    results(team, [Job(i, seconds=0.001) for i in range(400)])
    assert max(len(jobs) for _, _, jobs in team.begun) == running.MOST_TOGETHER
    assert len(team.begun) < 400 / 5


def test_a_slow_worker_does_not_hold_the_end() -> None:
    """What it has is begun again by others; so is what a stopped one has."""
    for speed in (0.1, 1e-9):
        team = ScriptedTeam(Script([1] * 4, [1, 1, 1, speed]))
        results(team, ONE_SECOND)
        assert team.now() < 26  # 20 s of work for three


def test_nothing_is_done_twice_among_equals() -> None:
    """Pieces that differ a little are no stragglers."""
    rng = random.Random(0)
    team = ScriptedTeam(Script([2, 2], [1, 1]))
    results(team, [Job(i, rng.uniform(1, 1.4)) for i in range(50)])
    assert len(team.begun) == 50


def test_a_piece_that_kills_ends_the_run() -> None:
    """It is found among those that died with it, and those are done."""
    jobs = [replace(job, kills=job.value == 7) for job in ONE_SECOND]
    team = ScriptedTeam(Script([4, 4], [1, 1]))
    done = []
    with pytest.raises(QuantkitError, match=r"^job 7: 3 workers .* died .*again died"):
        done += [job.value for job, _ in in_order(Board(team), jobs, list)]
    assert team.n_dead == running.MOST_DEATHS


def test_short_pieces_that_kill_are_found_in_their_company() -> None:
    """Items that travelled together are done one by one."""
    jobs = [Job(i, 0.001, kills=i == 77) for i in range(100)]
    with pytest.raises(QuantkitError, match=r"^job 77: 3 workers"):
        results(ScriptedTeam(Script([1, 1], [1, 1])), jobs)


def test_the_dead_that_do_not_return_leave_an_error() -> None:
    """The team says so; nothing hangs."""
    team = ScriptedTeam(Script([1, 1], [1, 1], deaths=[1.5, 3.5], returns=None))
    with pytest.raises(QuantkitError, match="no worker is left"):
        results(team, ONE_SECOND)


def test_an_error_of_the_work_is_raised_at_once() -> None:
    """It is that of the work, and waits neither for its turn nor for a slow piece."""
    jobs = [Job(0, seconds=100), Job(1), Job(2, raises=True), *ONE_SECOND[3:]]
    team = ScriptedTeam(Script([1, 1], [1, 1]))
    with pytest.raises(ValueError, match=r"^job 2$"):
        results(team, jobs)
    assert team.now() < 10


def test_a_run_that_is_closed_cancels_what_is_under_way() -> None:
    """And the next run gets nothing of it."""
    team = ScriptedTeam(Script([2], [1]))
    board = Board(team)
    run = in_order(board, ONE_SECOND, list)
    next(run)
    run.close()
    n_begun = len(team.begun)
    assert len(team.cancelled) == n_begun - 1
    assert list(in_order(board, [Job(9)], list)) == [(Job(9), 81)]
    assert len(team.begun) == n_begun + 1


def test_whole_pieces_have_a_worker_for_themselves() -> None:
    """And one more that waits, whatever the worker's slots; results are in order."""
    team = ScriptedTeam(Script([16, 16], [1, 1]))
    items = ONE_SECOND[:9]
    found = list(in_order(Board(team), items, list, whole=True))
    assert [value for _, value in found] == [job.value**2 for job in items]
    at_first = [worker for time, worker, _ in team.begun if time == 0]
    assert len(at_first) == 4
    assert sorted(Counter(at_first).values()) == [2, 2]


def test_two_runs_share_the_workers() -> None:
    """Each gets its own results and losses, whichever waits."""
    team = ScriptedTeam(Script([1, 1], [1, 1], deaths=[0.5, 3.3]))
    board = Board(team)
    runs = [in_order(board, ONE_SECOND[:n], list) for n in (9, 8)]
    both = list(zip(*runs, strict=False))
    assert [(a[1], b[1]) for a, b in both] == [(i * i, i * i) for i in range(8)]
    assert team.n_dead == 2


@dataclass(frozen=True)
class Book:
    """An opener with a heavy argument."""

    kept: ClassVar[int] = 2

    title: str
    inner: Book | None = None

    def open(self) -> str:
        return self.title[:3]


def test_openers_are_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces have their numbers, and a worker unpacks each once, if it keeps it."""
    packer = Packer(count(7), {})
    checked: list[Any] = []
    inner = Book("abc" * 1000)
    outer = Book("def" * 1000, inner)
    parcels = [packer.packed((i, Shared(outer), [inner])) for i in range(3)]
    assert all(len(parcel.pickled) < 200 for parcel in parcels)
    assert [sorted(parcel.needs) for parcel in parcels] == [[7, 8]] * 3
    assert not packer.packed(inner.title).needs
    unpacker = Unpacker(checked.append)
    for i, parcel in enumerate(parcels):
        number, shared, (own,) = unpacker.unpacked(parcel.pickled, opener_of(parcel))
        assert (number, shared.value, own) == (i, "def", inner)
        assert own is shared.opener.inner
    assert checked == [inner, outer]
    monkeypatch.setattr("quantkit.execution.cluster.parcels.KEPT_BYTES", 1)
    forgetful, other = Unpacker(checked.append), packer.packed(0)
    for parcel in (parcels[0], parcels[1], other, parcels[2]):
        forgetful.unpacked(parcel.pickled, opener_of(parcel))
    assert checked[2:] == [inner, outer] * 2  # it keeps those of the last piece


def test_what_an_opener_contains_may_be_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has it, and can be a part of others; its bytes count until it is forgotten."""
    monkeypatch.setattr("quantkit.execution.cluster.parcels.KEPT_BYTES", 8000)
    packer = Packer(count(7), {})
    checked: list[Any] = []
    inner, other, heavy = (Book(title * 1000) for title in ("abc", "ghi", "jklm"))
    outer = Book("def", inner)
    unpacker = Unpacker(checked.append)
    for value in (outer, other, outer, heavy, Book("nop", outer), Book("qrs", inner)):
        parcel = packer.packed([value])
        assert unpacker.unpacked(parcel.pickled, opener_of(parcel)) == [value]
    assert checked.count(outer) == 1
    assert checked.count(inner) == 2


def test_carried_values_are_packed_once_for_all_runs() -> None:
    """As long as they are there, and read only then."""
    carriage: Any = WeakKeyDictionary()
    numbers, n_read = count(7), []

    def read() -> bytes:
        n_read.append(1)
        return b"abc" * 1000

    carried = Carried(read=read)
    parcels = [Packer(numbers, carriage).packed((i, carried)) for i in range(3)]
    assert [list(parcel.needs) for parcel in parcels] == [[7]] * 3
    assert n_read == [1]
    unpacker = Unpacker(lambda opener: None)
    found = [unpacker.unpacked(each.pickled, opener_of(each)) for each in parcels]
    assert [(i, each.value) for i, each in found] == [
        (i, b"abc" * 1000) for i in range(3)
    ]
    assert len({id(each) for _, each in found}) == 1
    del carried
    gc.collect()
    assert not carriage


def opener_of(parcel: Parcel) -> Callable[[int], bytes]:
    return lambda number: parcel.needs[number].pickled


def served(server: Server, packer: Packer, work: Any, items: Sequence[Any]) -> Any:
    parcel = packer.packed((work, items))
    return pickle.loads(server.served(parcel.pickled, opener_of(parcel)))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    name = active_backend().name
    monkeypatch.setenv("QUANTKIT_BACKEND", name)
    monkeypatch.setattr("quantkit.execution.cluster.serving.hold_blas", lambda: None)
    return Server("7 on b", name, 1)


def test_a_worker_converts_slabs(server: Server, tmp_path: Path) -> None:
    """As this process does, from what was described to it."""
    source = GGUFFile(small_model(tmp_path / "model.gguf"))
    tensor = source.tensors["blk.0.ffn_up.weight"]
    slabs = list(slabs_of(tensor, QuantType.Q8_0))
    found = served(server, Packer(count(), {}), Slab.convert, slabs)
    assert isinstance(found, Done)
    for slab, rows in zip(slabs, found.results, strict=True):
        assert np.array_equal(rows, slab.convert())


def test_a_worker_says_which_file_it_lacks(server: Server, tmp_path: Path) -> None:
    """Whether it is missing there or another one."""
    path = small_model(tmp_path / "model.gguf")
    tensor = GGUFFile(path).tensors["blk.0.ffn_up.weight"]
    slab = next(slabs_of(tensor, QuantType.Q8_0))
    path.rename(tmp_path / "other.gguf")
    small_model(path)
    other = served(server, Packer(count(), {}), Slab.convert, [slab])
    path.unlink()
    missing = served(server, Packer(count(), {}), Slab.convert, [slab])
    for found, words in ((other, "is another file there"), (missing, "there is no")):
        assert isinstance(found, Raised)
        assert isinstance(found.error, FormatError)
        assert re.search(
            f"^worker 7 on b: .*{words}.*copied with their times", str(found.error)
        )
        assert str(path) in str(found.error)


def test_a_worker_takes_its_own_copy(server: Server, tmp_path: Path) -> None:
    """One with the same time, until it changes."""
    path = small_model(tmp_path / "model.gguf")
    tensor = GGUFFile(path).tensors["blk.0.ffn_up.weight"]
    slab = next(slabs_of(tensor, QuantType.Q8_0))
    packer, expected = Packer(count(), {}), slab.convert()
    shutil.copy2(path, tmp_path / "copy.gguf")
    (tmp_path / "copy.gguf").replace(path)
    found = served(server, packer, Slab.convert, [slab])
    assert isinstance(found, Done)
    assert np.array_equal(found.results[0], expected)


def test_a_worker_has_rows_sent_that_it_lacks(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Range by range, from the process that has the file."""
    monkeypatch.setattr("quantkit.gguf.shipping.FETCHED_BYTES", 300)
    path = small_model(tmp_path / "model.gguf")
    here = GGUFFile(path)
    tensor = here.tensors["blk.0.ffn_up.weight"]
    slabs = list(slabs_of(tensor, QuantType.Q8_0))
    asked: list[tuple[Any, ...]] = []

    def ask(opener: Any, *question: Any) -> Any:
        assert opener == here.opener
        asked.append(question)
        if not question:
            return described(here)
        name, start, stop = question
        return here.tensors[name].read(start, stop)

    packer, expected = Packer(count(), {}), [slab.convert() for slab in slabs]
    parcel = packer.packed((Slab.convert, slabs))
    path.rename(tmp_path / "elsewhere.gguf")
    asking = Server("7 on b", active_backend().name, 1, ask)
    found = pickle.loads(asking.served(parcel.pickled, opener_of(parcel)))
    for rows, wanted in zip(found.results, expected, strict=True):
        assert np.array_equal(rows, wanted)
    row_bytes = tensor.type.row_bytes(tensor.n_cols)
    assert asked[0] == ()
    assert len(asked) > 2
    assert all((b - a) * row_bytes <= 300 or b == a + 1 for _, a, b in asked[1:])


def test_an_opener_answers_for_its_source(tmp_path: Path) -> None:
    """As a machine without the files asks: see above."""
    file = GGUFFile(small_model(tmp_path / "model.gguf"))
    opener = file.opener
    sent = opener.shipped(lambda *question: opener.ask(*question))
    assert sent.tensors.keys() == file.tensors.keys()
    assert list(sent.metadata) == list(file.metadata)
    for name, tensor in sent.tensors.items():
        whole = file.tensors[name].read(0, tensor.n_rows)
        assert np.array_equal(tensor.read(0, tensor.n_rows), whole)
        assert (tensor.shape, tensor.type) == (file.tensors[name].shape, tensor.type)


class Unsent(Exception):
    """Cannot be unpickled, since it takes two arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fail(kind: str) -> None:
    raise OptionError("`a` is b") if kind == "ours" else Unsent(1, 2)


def test_errors_stay_what_they_are(server: Server) -> None:
    """Those that cannot be sent come as text."""
    ours = served(server, Packer(count(), {}), fail, ["ours"])
    assert isinstance(ours.error, OptionError)
    assert str(ours.error) == "`a` is b"
    foreign = served(server, Packer(count(), {}), fail, ["foreign"])
    assert isinstance(foreign.error, QuantkitError)
    assert re.search("worker 7 on b: .*Unsent: 1 and 2", str(foreign.error))


def test_machines_with_other_software_are_refused() -> None:
    """The message has both versions."""
    here = facts_here()
    refuse_other(here, here.versions, "node-7")
    for what in here.versions:
        with pytest.raises(QuantkitError, match=rf"^node-7 has {what} 0\.0.* but this"):
            refuse_other(here, {**here.versions, what: "0.0"}, "node-7")
    with pytest.raises(QuantkitError, match=r"node-7 has no quantkit.*pip install"):
        refuse_other(here, {}, "node-7")


def test_the_backend_is_the_best_that_all_can_run() -> None:
    """In the same variant; one that was forced is not replaced by a better one."""
    usable = [("avx512", "avx512_vnni"), ("avx2", "avx2_fma"), ("scalar", "scalar")]
    best = replace(facts_here(), usable=usable, active=usable[0])
    older = replace(best, usable=[("avx512", "avx512"), *usable[1:]], machine="old")
    assert common_backend(best, [best, best]) == "avx512"
    assert common_backend(best, [best, older]) == "avx2"
    assert common_backend(replace(best, active=usable[2]), [best]) == "scalar"
    with pytest.raises(BackendError, match="arm and this machine have no backend"):
        common_backend(best, [replace(best, usable=[("neon", "neon")], machine="arm")])
    refuse_unable(active_backend().name, facts_here())
    with pytest.raises(BackendError, match="arm cannot run the backend"):
        refuse_unable("scalar", replace(best, usable=[], machine="arm"))


def test_addresses() -> None:
    """They are parsed, and written as they were."""
    for text in ("local:4", "auto", "ray://10.0.0.7:10001", "ray://[::1]:6000"):
        assert str(Address.parse(text)) == text
    assert Address.parse("ray://head") == Address(host="head")
    for wrong in ("local:0", "local", "local:-1", "ray://", "ray://a:99999", "a:1", 3):
        with pytest.raises(OptionError, match=r"`cluster` is .* expected local:N"):
            Address.parse(wrong)  # type: ignore[arg-type]


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else of quantkit needs it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(QuantkitError, match=r"pip install 'quantkit\[ray\]'"),
        use_cluster("auto"),
    ):
        pass


def test_workers_by_default() -> None:
    """They do what has no other workers; work in this process has threads."""
    three = Threads(3)
    with by_default(three):
        assert workers_of(None) is three
        assert in_this_process(None) is three
        assert workers_of(1) == Threads(1)
    assert workers_of(None) != three


def test_ctrl_c_waits_for_what_cannot_be_left_half_done() -> None:
    """It comes after the block; if it is ignored, it stays so."""
    done: list[int] = []

    def interrupt() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append(len(done) + 1)

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == [1, 2]


def test_sigterm_ends_a_block_and_then_the_process() -> None:
    """What is left of the block is done; whoever handles the signal goes on to."""
    done: list[int] = []

    def end() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            with uninterrupted():
                signal.raise_signal(signal.SIGTERM)  # again, while it ends
                done.append(len(done) + 1)

    with pytest.raises(SystemExit, match="143"), terminable():
        end()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    before = signal.signal(signal.SIGTERM, lambda number, _: done.append(0))
    try:
        with terminable():
            end()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done == [1, 0, 3, 0]
