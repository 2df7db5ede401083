"""Real Ray clusters of several nodes on this machine: equal bytes, whatever dies.

Ray's own processes are started and killed, so these tests run only with `-m cluster`.
"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit import compare, imatrix, quantize_file, use_cluster
from quantkit.calibrating import spans
from quantkit.calibrating.calibration import Calibration, Effort
from quantkit.errors import QuantkitError
from quantkit.execution.cluster.cluster import Cluster
from quantkit.tasks.convert import convert
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens.options import TextOptions

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]

STORE_BYTES = 80 << 20
OPTIONS = TextOptions(ctx=64, chunks=12)


@pytest.fixture(scope="module", autouse=True)
def ray(pytestconfig: pytest.Config) -> Any:
    if "cluster" not in pytestconfig.getoption("markexpr"):
        pytest.skip("starts Ray clusters on this machine: run with -m cluster")
    pytest.importorskip("ray.cluster_utils", reason="needs the ray extra")
    return sys.modules["ray"]


@pytest.fixture(scope="module")
def environment(ray: Any) -> Iterator[pytest.MonkeyPatch]:
    """Ray is quiet and needs no token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        yield patch


@contextmanager
def started(ray: Any) -> Iterator[Any]:
    """A cluster of a node that does no work, and three that do."""
    head = {"num_cpus": 0, "object_store_memory": STORE_BYTES}
    found = ray.cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    for _ in range(3):
        found.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    found.wait_for_nodes()
    yield found
    found.shutdown()


@pytest.fixture(scope="module")
def lasting(ray: Any, environment: pytest.MonkeyPatch) -> Iterator[Any]:
    with started(ray) as found:
        yield found


@pytest.fixture
def nodes(lasting: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A cluster whose nodes live on."""
    monkeypatch.setenv("RAY_ADDRESS", lasting.address)
    return lasting


@pytest.fixture
def mortal(
    ray: Any, environment: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A cluster whose nodes may be killed, and which may get others."""
    with started(ray) as found:
        monkeypatch.setenv("RAY_ADDRESS", found.address)
        yield found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "f16.gguf"
    convert(DEMO_MODEL, path, "f16")
    return path


@pytest.fixture(scope="module")
def text() -> str:
    return DEMO_TEXT.read_text(encoding="utf-8")[:20000]


def command(*arguments: object, **how: Any) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "quantkit", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, **how)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ray://127.0.0.1:1", "cannot reach the cluster at ray://127.0.0.1:1"),
        ("ray://no-such-host.invalid", "cannot reach the cluster at ray://no-such"),
        ("auto", "there is no Ray cluster on this machine"),
    ],
)
def test_a_cluster_that_is_not_there(
    environment: pytest.MonkeyPatch, model: Path, address: str, words: str
) -> None:
    """One line; the time is only that of a test that hangs."""
    result = command("ppl", model, "--cluster", address, timeout=60)
    assert result.returncode == 1
    assert result.stderr.startswith(f"quantkit: {words}")
    assert result.stderr.count("\n") == 1


def test_a_port_where_nobody_speaks_ray(
    environment: pytest.MonkeyPatch, model: Path
) -> None:
    """It accepts connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        address = f"ray://127.0.0.1:{port}"
        result = command("ppl", model, "--cluster", address, timeout=60)
    assert result.stderr.startswith(f"quantkit: cannot use the cluster {address}")
    assert result.stderr.count("\n") == 1


def figures(
    model: Path, text: str, types: Sequence[str] = ("Q8_0", "Q2_K", "Q4_0"), **how: Any
) -> list[bytes]:
    """Every score of a comparison, as bytes."""
    found = compare(model, types, text=text, options=OPTIONS, **how)
    return [
        array.tobytes()
        for each in found.scores.values()
        for scores in each
        for array in (scores.nll, scores.kld, scores.same_top, scores.rank)
        if array is not None
    ]


def sums(model: Path, text: str, **how: Any) -> list[bytes]:
    """Every sum of an importance matrix, as bytes."""
    found = imatrix(model, text, options=OPTIONS, process_output=True, **how)
    return [
        array.tobytes()
        for each in found.sums.values()
        for array in (each.squares, each.values, each.counts)
        if array is not None
    ]


def files(model: Path, folder: Path, **how: Any) -> dict[str, bytes]:
    """Quantized files, with importance; nothing else is in the folder."""
    importance = {
        "blk.0.ffn_up.weight": np.linspace(0.5, 2, 256, dtype=np.float32),
    }
    (folder / "made").mkdir(exist_ok=True)
    quantize_file(
        *(model, folder / "made" / "o.gguf", "Q4_K_M"), importance=importance, **how
    )
    return {path.name: path.read_bytes() for path in (folder / "made").iterdir()}


def calibration(text: str, effort: Effort = "fast") -> Calibration:
    """Of 16 sequences."""
    return Calibration([text], 1024, effort, TextOptions(ctx=64))


Task = Callable[..., Any]
TASKS: dict[str, Callable[[Path, str, Path], Task]] = {
    "ppl": lambda model, text, folder: lambda **how: figures(model, text, **how),
    "ppl in groups": lambda model, text, folder: (
        lambda **how: figures(model, text, memory=0, **how)
    ),
    "ppl, calibrated": lambda model, text, folder: (
        lambda **how: figures(
            model, text, ["Q4_0"], calibration=calibration(text), **how
        )
    ),
    "imatrix": lambda model, text, folder: lambda **how: sums(model, text, **how),
    "quantize": lambda model, text, folder: lambda **how: files(model, folder, **how),
    "quantize, split": lambda model, text, folder: (
        lambda **how: files(model, folder, split_max_bytes=10**6, **how)
    ),
}


@pytest.fixture(params=list(TASKS))
def task(
    request: pytest.FixtureRequest, model: Path, text: str, tmp_path: Path
) -> Task:
    return TASKS[request.param](model, text, tmp_path)


def test_a_cluster_gives_what_threads_give(nodes: Any, task: Task) -> None:
    """Every byte and every figure."""
    alone = task(threads=2)
    with use_cluster("auto") as workers:
        assert workers.count == 3
        assert task() == alone


class Killer:
    """Calls a function at one of the first calls of a progress."""

    def __init__(self, seed: int, kill: Callable[[random.Random], None]) -> None:
        self._rng = random.Random(seed)
        self._left = self._rng.randint(1, 12)
        self._kill = kill

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._left -= 1
        if self._left == 0:
            self._kill(self._rng)


@pytest.mark.parametrize("seed", range(4))
def test_workers_may_be_killed(nodes: Any, task: Task, seed: int) -> None:
    """Their pieces are done again, and nothing is counted twice."""
    alone = task(threads=2)
    killed = []
    with use_cluster("auto") as workers:
        assert isinstance(workers, Cluster)

        def kill(rng: random.Random) -> None:
            name = rng.choice([worker.name for worker in workers.workers])
            killed.append(name)
            os.kill(int(name.split()[0]), signal.SIGKILL)

        assert task(progress=Killer(seed, kill)) == alone
    assert len(killed) == 1


@pytest.mark.parametrize(
    ("effort", "tokens", "seed"),
    [("fast", 256, 0), ("fast", 64, 1), ("best", 64, 2), ("best", 256, 3)],
)
def test_calibrating_workers_may_be_killed(
    nodes: Any,
    model: Path,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    effort: Effort,
    tokens: int,
    seed: int,
) -> None:
    """At any time, whether their pieces are blocks of the text or batches of one."""
    monkeypatch.setattr(spans, "BATCH_TOKENS", tokens)
    given = calibration(text, effort)
    alone = files(model, tmp_path, calibration=given, threads=2)
    rng = random.Random(seed)
    killed = []
    with use_cluster("auto") as workers, ThreadPoolExecutor(1) as pool:
        assert isinstance(workers, Cluster)

        def kill() -> None:
            for _ in range(2):
                time.sleep(rng.uniform(0.2, 4))
                name = rng.choice([worker.name for worker in workers.workers])
                os.kill(int(name.split()[0]), signal.SIGKILL)
                killed.append(name)

        done = pool.submit(kill)
        assert files(model, tmp_path, calibration=given) == alone
        done.result()
    assert len(killed) == 2


@pytest.mark.parametrize("seed", range(2))
def test_nodes_may_be_killed(mortal: Any, task: Task, seed: int) -> None:
    """With all their processes; another one that comes takes part."""
    alone = task(threads=2)
    killed = []

    def kill(rng: random.Random) -> None:
        node = rng.choice(sorted(mortal.worker_nodes, key=lambda each: each.unique_id))
        mortal.remove_node(node, allow_graceful=False)
        killed.append(node)
        mortal.add_node(num_cpus=1, object_store_memory=STORE_BYTES)

    with use_cluster("auto"):
        assert task(progress=Killer(seed, kill)) == alone
    assert len(killed) == 1


@pytest.fixture
def blind(mortal: Any, model: Path) -> Iterator[Any]:
    """The same, with a node that does not see the folder of the model."""
    with with_blind_node(mortal, model.parent):
        yield mortal


@contextmanager
def with_blind_node(nodes: Any, folder: Path) -> Iterator[None]:
    """One more node, which does not see a folder."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("hiding a folder from a node needs root and unshare")
    ray = f"{sys.executable} -m ray.scripts.scripts"
    hide = f"mount -t tmpfs none {shlex.quote(str(folder))}"
    start = f"{ray} start --address={nodes.address} --num-cpus=1"
    line = f"{hide} && exec {start} --object-store-memory={STORE_BYTES}"
    before = remains()
    subprocess.run(
        ["unshare", "--mount", "sh", "-c", line], check=True, capture_output=True
    )
    yield
    for each in remains() - before:
        if nodes.address in each:  # others may use Ray on this machine, too
            os.kill(int(each.split()[0]), signal.SIGKILL)


def test_a_node_without_the_file_is_named(blind: Any, model: Path, text: str) -> None:
    """With the path that it lacks."""
    with use_cluster("auto") as workers:
        assert workers.count == 4
        with pytest.raises(QuantkitError, match=r"^worker \d+ on .*: there is no") as e:
            sums(model, text)
    assert str(model) in str(e.value)


def test_rows_are_sent_to_a_node_without_the_file(blind: Any, task: Task) -> None:
    """What it computes is what the others compute."""
    alone = task(threads=2)
    with use_cluster("auto", ship=True) as workers:
        assert workers.count == 4
        assert task() == alone


def test_rows_come_from_a_node_without_the_folder_of_the_output(
    mortal: Any, model: Path, tmp_path: Path
) -> None:
    """Others write what they compute themselves; one line says so."""
    alone = files(model, tmp_path, threads=2)
    told: list[str] = []
    with with_blind_node(mortal, tmp_path), use_cluster("auto") as workers:
        assert workers.count == 4
        assert files(model, tmp_path, notify=told.append) == alone
    assert [line.split(";")[0] for line in told] == [
        f"not all machines see {tmp_path / 'made'}"
    ]


DIES = """
import os, signal, sys
from quantkit import quantize_file, use_cluster
model, out, left = sys.argv[1], sys.argv[2], int(sys.argv[3])

def progress(stage, done, total):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

with use_cluster("auto"):
    quantize_file(
        model, out, "Q4_K_M", progress=progress, split_max_bytes=10**6, notify=print
    )
"""


def test_the_command_may_be_killed(nodes: Any, model: Path, tmp_path: Path) -> None:
    """The next one goes on from what is written, and nothing is left of the first."""
    alone, made = tmp_path / "alone", tmp_path / "made"
    for folder in (alone, made):
        folder.mkdir()
    quantize_file(model, alone / "o.gguf", "Q4_K_M", split_max_bytes=10**6, threads=2)
    said = ""
    for left in (5, 11, 17, 0):
        line = [sys.executable, "-c", DIES, str(model), str(made / "o.gguf"), str(left)]
        result = subprocess.run(line, capture_output=True, text=True, check=False)
        assert result.returncode == (-signal.SIGKILL if left else 0), result.stderr
        said += result.stdout
    assert "resuming at" in said
    contents = [{p.name: p.read_bytes() for p in f.iterdir()} for f in (alone, made)]
    assert contents[0] == contents[1]


def kill_oneself(item: int) -> int:
    if item == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_what_kills_workers_ends_the_run(nodes: Any) -> None:
    """After three of them, with its number; then the cluster works on."""
    with use_cluster("auto") as workers:
        with pytest.raises(QuantkitError, match=r"^item 6: 3 workers of the cluster"):
            list(workers.in_order(kill_oneself, range(20)))
        found = list(workers.in_order(abs, range(20)))
    assert found == [(i, i) for i in range(20)]


OTHER_VERSION = """
import sys, types
found = types.ModuleType("quantkit")
found.__path__, found.__version__ = [], "0.0.1"
sys.modules["quantkit"] = found
"""


def test_other_versions_are_refused(
    mortal: Any, tmp_path: Path, model: Path, text: str
) -> None:
    """In one line that has both; a node that comes later is left out."""
    (tmp_path / "sitecustomize.py").write_text(OTHER_VERSION)
    alone = sums(model, text, threads=2)
    told: list[str] = []
    other: dict[str, Any] = {
        "num_cpus": 1,
        "object_store_memory": STORE_BYTES,
        "env_vars": {"PYTHONPATH": str(tmp_path)},
    }

    def join(rng: random.Random) -> None:
        mortal.add_node(**other)
        mortal.wait_for_nodes()

    with use_cluster("auto", notify=told.append):
        assert sums(model, text, progress=Killer(0, join)) == alone
        for _ in range(20):
            assert sums(model, text) == alone
            if told:
                break
            time.sleep(1)
    assert [bool(re.search(r"0\.0\.1.*left out", line)) for line in told] == [True]
    with (
        pytest.raises(QuantkitError, match=r"has quantkit 0\.0\.1, but this machine"),
        use_cluster("auto"),
    ):
        pass


def timeless(result: subprocess.CompletedProcess[str]) -> Any:
    """The JSON that a command printed, without times; it printed nothing else."""
    assert (result.returncode, result.stderr) == (0, "")
    timed = re.compile(r'"\w*(seconds|per_second|speed)\w*": [^,}]*')
    return json.loads(timed.sub('"time": 0', result.stdout))


def remains() -> set[str]:
    """Processes of Ray, and folders of local clusters."""
    listed = subprocess.run(
        ["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    ours = re.compile(r"raylet|gcs_serv|ray::|default_worker")
    found = {line for line in listed if ours.search(line) and "<defunct>" not in line}
    return found | {str(path) for path in Path("/tmp").glob("quantkit-ray-*")}


@contextmanager
def nothing_remains() -> Iterator[None]:
    """Of what is started in the block."""
    before = remains()
    yield
    end = time.monotonic() + 10
    while remains() - before and time.monotonic() < end:
        time.sleep(0.5)  # killed processes are still there for a moment
    assert remains() - before == set()


def test_commands_take_a_cluster(model: Path, tmp_path: Path) -> None:
    """They print what they print without one, and leave nothing."""
    text = tmp_path / "text.txt"
    text.write_text(DEMO_TEXT.read_text(encoding="utf-8")[:20000], encoding="utf-8")
    measured = "ppl", model, "--text", text, "--ctx", 64, "--json", "-q"
    types = "--types", "Q8_0,Q2_K"
    local = "--cluster", "local:2"
    alone = command(*measured, *types)
    with nothing_remains():
        assert timeless(alone) == timeless(command(*measured, *types, *local))
    made = [tmp_path / name for name in ("a.gguf", "b.gguf", "c.gguf", "d.gguf")]
    for path, how in zip(made, ((), local), strict=False):
        timeless(command("quantize", model, path, "Q4_K_M", "--json", "-q", *how))
    for path, how in zip(made[2:], ((), local), strict=True):
        timeless(command("convert", DEMO_MODEL, "-o", path, "--json", "-q", *how))
    one, other, three, four = (path.read_bytes() for path in made)
    assert one == other
    assert three == four


def test_commands_calibrate_on_a_cluster(model: Path, tmp_path: Path) -> None:
    """`quantize`, `ppl` and `choose` give what they give without one."""
    text = tmp_path / "text.txt"
    text.write_text(DEMO_TEXT.read_text(encoding="utf-8")[:20000], encoding="utf-8")
    local = "--cluster", "local:2"
    how = "--calibrate", text, "--calibration-tokens", 1024, "--json", "-q"
    made = [tmp_path / "a.gguf", tmp_path / "b.gguf"]
    for path, where in zip(made, ((), local), strict=True):
        timeless(command("quantize", model, path, "Q4_0", *how, *where))
    one, other = (path.read_bytes() for path in made)
    assert one == other
    measured = "--types", "Q4_0", "--text", text, "--chunks", 4, *how
    for line in (("ppl", model), ("choose", model, "--max-size", "4M")):
        alone, there = (command(*line, *measured, *at) for at in ((), local))
        assert timeless(alone) == timeless(there)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.5, 3, 5, 7, 9])
def test_signals_leave_nothing(
    model: Path, after: float, number: signal.Signals
) -> None:
    """At any time: while Ray starts, while it works."""
    line = [sys.executable, "-m", "quantkit", "ppl", model, "--cluster", "local:2"]
    line += ["--text", DEMO_TEXT, "--ctx", "64", "--types", "all", "-q"]
    with (
        nothing_remains(),
        subprocess.Popen(
            [str(each) for each in line],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        time.sleep(after)
        if number is signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        _, said = process.communicate(timeout=60)
    is_early = process.returncode == -number  # before anything was begun
    assert process.returncode == 128 + number or is_early
    assert "Traceback" not in said


OWN_CLUSTER = """
import ray
from quantkit import use_cluster

def own():
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    assert ray.get(ray.put(1)) == 1
    ray.shutdown()

own()
with use_cluster("local:1") as workers:
    assert list(workers.in_order(abs, [-1])) == [(-1, 1)]
own()
"""


def test_a_local_cluster_beside_one_with_another_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one process: before and after."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", 64 * "a")
    line = [sys.executable, "-c", OWN_CLUSTER]
    result = subprocess.run(line, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
