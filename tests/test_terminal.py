r"""No text from a file reaches the terminal as a command, or rich as markup."""

from __future__ import annotations

import ast
import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import quantkit.cli
from quantkit.cells import Cells, html_table, markdown_table
from quantkit.cli import main
from quantkit.cli.console import paragraph, print_result
from quantkit.errors import FormatError, OptionError
from quantkit.evaluate.presentation import csv_text
from quantkit.files.json_file import json_text
from quantkit.gguf import GGUFFile, GGUFWriter, TensorSpec
from quantkit.gguf.keys import string
from quantkit.importance import ImportanceMatrix
from quantkit.importance.sums import Sums
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.types import QuantType
from quantkit.visible import visible

EVIL = (
    "\x1b[2J\x1b]0;pwn\x07\x9b31m\x7f\u202e\u2066\u200b\u2028\r\n[red]a[/b]:skull: "
    "<b>[x](http://y)|`"
)
SEEN = visible(EVIL)
CLI = Path(quantkit.cli.__file__).parent
Run = Callable[..., tuple[int, str]]

COMMAND = [sys.executable, "-m", "quantkit"]
OWN = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(sys.path),
    "COLUMNS": "400",
    "TERM": "xterm",
}


# Runs the commands that come in as lines, and tells where the output of each ends.
SHELL = """
import json, sys
from quantkit.cli import main

for line in open(int(sys.argv[1])):
    sys.argv = ["quantkit", *json.loads(line)]
    try:
        main.run()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    sys.stderr.flush()
    print(end=f"\\0{code}\\0", flush=True)
"""


@contextmanager
def terminal() -> Iterator[Run]:
    """A terminal; the commands on it are one process's, which starts once."""
    pty = pytest.importorskip("pty", reason="needs pseudo-terminals")
    master, slave = pty.openpty()
    reading, writing = os.pipe()
    command = [sys.executable, "-c", SHELL, str(reading)]
    ends = {"stdin": slave, "stdout": slave, "stderr": slave}
    with subprocess.Popen(command, env=OWN, pass_fds=[reading], **ends) as process:
        os.close(slave)
        os.close(reading)

        def on_terminal(*arguments: str | Path) -> tuple[int, str]:
            """The exit code and all output of a command."""
            line = json.dumps([*map(str, arguments)]) + "\n"
            os.write(writing, line.encode())
            read = bytearray()
            while read.count(0) < 2:
                found = chunk(master)
                assert found, read
                read += found
            out, code, _ = read.split(b"\0")
            return int(code), out.decode(errors="surrogateescape")

        yield on_terminal
        os.close(writing)
        process.wait()
    os.close(master)


def in_pipe(*arguments: str | Path) -> tuple[int, str]:
    """The same in a pipe, in this process."""
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="utf-8", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["quantkit", *map(str, arguments)])
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        patch.setenv("COLUMNS", "400")
        with pytest.raises(SystemExit) as ended:
            main.run()
    stream.flush()
    return int(ended.value.code or 0), buffer.getvalue().decode()


@pytest.fixture(scope="module", params=["pipe", "terminal"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """A way to run commands."""
    if request.param == "pipe":
        yield in_pipe
    else:
        with terminal() as on_terminal:
            yield on_terminal


def chunk(master: int) -> bytes:
    """What a terminal shows next; nothing at the end."""
    try:
        return os.read(master, 65536)
    except OSError:
        return b""


def safe(output: str) -> str:
    """The output, of which only sequences that rich writes are taken away."""
    assert "\x1b[2J" not in output
    text = re.sub(r"\x1b\[(?:[0-9;]*[mKA]|\?25[lh])", "", output)
    text = text.replace("\r\n", "\n").replace("\r", "")
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)
    return text


@pytest.fixture(scope="module")
def model(demo_f16: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo with one tensor more, and with names that attack a terminal."""
    path = tmp_path_factory.mktemp("evil") / f"{EVIL.replace('/', '')}.gguf"
    tensor = TensorSpec(EVIL + ".weight", (2, 256), QuantType.F32)
    with GGUFFile(demo_f16) as file:
        name = string(f"Qwen [abliterated]{EVIL}")
        extra = {EVIL: string(EVIL), "general.name": name}
        specs = [TensorSpec(t.name, t.shape, t.type) for t in file.tensors.values()]
        with GGUFWriter(path, {**file.metadata, **extra}, [*specs, tensor]) as writer:
            for each in file.tensors.values():
                writer.write(each.name, each.read(0, each.n_rows))
            writer.write(tensor.name, np.zeros(2048, np.uint8))
    return path


def test_a_model_with_evil_names_is_shown_quantized_and_verified(
    model: Path, tmp_path: Path, run: Run
) -> None:
    """It works as any other; names are shown with escapes, and with their brackets."""
    code, out = run("info", model, "--tensors")
    assert code == 0
    assert f"{SEEN}.weight" in safe(out)
    assert "Qwen [abliterated]\\x1b" in safe(out)
    target = tmp_path / f"{EVIL.replace('/', '')}.gguf"
    code, out = run("quantize", model, target, "Q4_0", "--dry-run")
    assert (code, f"{SEEN}.weight" in safe(out)) == (0, True)
    code, out = run("quantize", model, target, "Q4_0")
    assert (code, visible(target.name) in safe(out)) == (0, True)
    with GGUFFile(target) as file:
        assert EVIL + ".weight" in file.tensors
    code, out = run("verify", target, "--source", DEMO_MODEL)
    assert (code, f"tensor {SEEN}.weight: " in safe(out)) == (1, True)
    code, out = run("info", model, "--json")
    assert json.loads(safe(out))["name"].startswith("Qwen [abliterated]\\x1b")


def test_evil_names_of_texts_in_measurements(
    demo_f16: Path, tmp_path: Path, run: Run
) -> None:
    """As rows of tables, in live tables, in each format."""
    name = EVIL.replace("/", "")
    model, text = tmp_path / f"{name}.gguf", tmp_path / f"={name}.txt"
    shutil.copy(demo_f16, model)
    shutil.copy(DEMO_TEXT, text)
    command = ("ppl", model, "--text", text, "--text", DEMO_TEXT, "--types", "Q8_0")
    small = ("--chunks", "1", "--ctx", "64")
    for format in ((), ("--csv",), ("--markdown", "--quiet"), ("--json",)):
        code, out = run(*command, *small, *format)
        assert (code, "x1b" in safe(out) or "u001b" in out) == (0, True)
        assert ("<b>" in out) is ("--markdown" not in format)
        assert ("\n'=" in out) is (format == ("--csv",))


def test_evil_names_in_an_importance_matrix(tmp_path: Path) -> None:
    """Its tensors, its texts and its file."""
    sums = Sums(np.ones((1, 32)), None, np.array([64]))
    matrix = ImportanceMatrix({f"blk.0.{EVIL}.weight": sums}, 64, (EVIL,))
    path = tmp_path / "[b]matrix.gguf"
    matrix.save(path)
    code, out = in_pipe("imatrix", path, "--show")
    assert (code, f"blk.0.{SEEN}.weight" in safe(out)) == (0, True)
    assert f"64 tokens of {SEEN}" in out
    assert f"{path}: " in out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("info", EVIL), 1),
        (("quantize", EVIL, "out.gguf", "Q4_0"), 1),
        (("quantize", "in.gguf", "out.gguf", EVIL), 2),
        (("quantize", "a", "b", "Q4_0", "--tensor-type", EVIL), 2),
        (("quantize", "a", "b", "Q4_0", "--override-kv", EVIL), 2),
        (("quantize", "a", "b", "Q4_0", "--missing-imatrix", EVIL), 2),
        (("quantize", "a", "b", "Q4_0", "--recipe", EVIL), 1),
        (("ppl", EVIL, "--text", EVIL), 1),
        (("ppl", "a", "--text", "b", f"--{EVIL}"), 2),
        (("convert", EVIL), 1),
        (("convert", "a", "--vocab-type", EVIL), 2),
        (("imatrix", EVIL, "--show"), 1),
        ((EVIL,), 2),
    ],
)
def test_errors_show_what_was_typed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
) -> None:
    """Also in errors of usage; in one line, after how the command is used."""
    monkeypatch.chdir(tmp_path)
    found, out = in_pipe(*arguments)
    *usage, said = safe(out).strip().split("\n")
    assert (found, said.startswith("quantkit: ")) == (code, True), out
    assert "x1b" in said
    assert all(line.startswith(("Usage: ", " ", "Try ")) for line in usage)


def test_a_name_that_is_not_utf_8(demo_f16: Path, tmp_path: Path) -> None:
    """Its bytes are shown as escapes, with any encoding of the output."""
    if sys.platform != "linux":
        pytest.skip("other systems do not have such names")
    path = os.fsdecode(os.fsencode(tmp_path) + b"/m\xff.gguf")
    shutil.copy(demo_f16, path)
    for settings in ({}, {"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}):
        command = [*COMMAND, "info", path]
        done = subprocess.run(command, stdout=-1, text=True, env=OWN | settings)
        assert (done.returncode, "m\\udcff.gguf" in safe(done.stdout)) == (0, True)
    code, out = in_pipe("info", path + "x")
    assert (code, "m\\udcff.ggufx" in safe(out)) == (1, True)


@pytest.mark.parametrize("arguments", [("info",), ("--version",)])
def test_output_that_cannot_be_written_is_told(
    demo_f16: Path, arguments: tuple[str, ...]
) -> None:
    """A full disk; but not a reader that has seen enough."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    own = [demo_f16] if arguments[0] == "info" else []
    command = [*COMMAND, *arguments, *map(str, own)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=-1, text=True)
    assert (done.returncode, done.stderr) == (1, "quantkit: No space left on device\n")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=-1, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


class Broken(io.StringIO):
    """A stdout whose reader has gone, or whose disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        raise self._error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), ""),
        (OSError(errno.ENOSPC, "No space left"), "quantkit: No space left\n"),
    ],
)
def test_files_are_written_though_nothing_can_be_printed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: OSError,
    told: str,
) -> None:
    """As of `quantkit choose ... | head -1`: all outputs, and then the error."""
    out, save = tmp_path / "out.gguf", tmp_path / "choice.json"
    words = ["choose", DEMO_MODEL, "--max-size", "4M", "--types", "Q4_0,Q2_K"]
    words += ["--chunk-size", "16", "--chunks", "8", "-o", out, "--save", save, "-q"]
    words += ["--text", DEMO_TEXT]
    monkeypatch.setattr(sys, "argv", ["quantkit", *map(str, words)])
    monkeypatch.setattr(sys, "stdout", Broken(error))
    with pytest.raises(SystemExit) as end:
        main.run()
    assert (end.value.code, capsys.readouterr().err) == (1, told)
    assert json.loads(save.read_text())["chosen"]["name"] == "Q4_0"
    assert out.stat().st_size < 4_000_000


def test_tables_are_whole_in_a_dumb_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """rich takes every such terminal, as that of Emacs, for one of 80 characters."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", "1")
    row = "x" * 60, "y" * 60
    print_result(Cells(("one", "two"), [row]))
    assert "  ".join(row) in capsys.readouterr().out


def test_what_is_visible() -> None:
    """Signs of all scripts stay; what shows no sign is escaped once."""
    plain = "Qwen3-漢字 ü [x] :skull: ▁Ġ<end> 🙂 C:\\x"
    assert visible(plain) == plain
    assert visible("\x1b\x00\x7f\x9b") == r"\x1b\x00\x7f\x9b"
    assert visible("a\nb\tc\u2028\u2029\x85") == r"a\nb\tc\u2028\u2029\x85"
    assert visible("\u202a\u202e\u2066\u2069") == r"\u202a\u202e\u2066\u2069"
    assert visible("\u200b\u200d\ufeff\xad\ufe0f") == r"\u200b\u200d\ufeff\xad\ufe0f"
    assert visible("\udcff\U000e0041\u3000") == r"\udcff\U000e0041\u3000"
    assert visible(visible(EVIL)) == visible(EVIL)


def test_errors_are_one_safe_line() -> None:
    """Also where no command line shows them, such as in a notebook."""
    for error in (FormatError, OptionError):
        assert str(error(f"tensor {EVIL}: bad")) == f"tensor {SEEN}: bad"
        assert EVIL not in repr(error(EVIL))


def test_markdown_is_text_and_nothing_else() -> None:
    """No HTML, links, formulas, emoji or cells of its own; types stay as they are."""
    evil = "<b>|`x`[y](http://z) $a$ :skull: _i_ *b* ~s~ me@x.org www.x.org &lt; a_b"
    table = markdown_table(Cells((">type",), [("Q4_K_M",), (evil,), ("a\nb",)]))
    assert table.split("\n")[2:] == [
        "| Q4_K_M |",
        r"| \<b\>\|\`x\`\[y\](http\://z) \$a\$ \:skull: \_i\_ \*b\* \~s\~ me\@x.org "
        r"www\.x.org \&lt; a_b |",
        r"| a\\nb |",
    ]


def test_csv_holds_no_formula() -> None:
    """Texts that start like one are quoted as spreadsheets do; numbers are not."""
    records = [{"name": "=1+1", "ppl": -1.5}, {"name": "@x", "ppl": 2.0}]
    assert csv_text(records) == "name,ppl\n'=1+1,-1.5\n'@x,2.0\n"
    assert csv_text([{"name": "a\r\n=b"}]) == "name\na\\r\\n=b\n"


def test_html_and_json_hold_no_control_characters() -> None:
    """HTML shows them; JSON has escapes that mean the characters themselves."""
    html = html_table(Cells(("type",), [(EVIL,)]))
    assert all(line.isprintable() for line in html.split("\n"))
    assert "<b>" not in html
    written = json_text({EVIL: [EVIL, float("nan"), float("inf"), 0.5]})
    assert written.isascii()
    assert all(line.isprintable() for line in written.split("\n"))
    assert json.loads(written) == {EVIL: [EVIL, None, None, 0.5]}


def names_in(path: Path) -> Iterable[str]:
    """The names that a module uses, with those it imports from."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield (getattr(node, "module", None) or "").split(".")[0]
            yield from (alias.name.split(".")[0] for alias in node.names)


@pytest.mark.parametrize(
    "path", sorted({*CLI.glob("*.py")} - {CLI / "console.py"}), ids=lambda p: p.name
)
def test_there_is_one_door(path: Path) -> None:
    """No other module prints, or uses rich; `bars` gives rich the door's objects."""
    ways = {"print", "echo", "secho", "write", "rich"}
    if path.name == "bars.py":
        ways.remove("rich")
        source = path.read_text(encoding="utf-8")
        assert not re.findall(r"TextColumn|Text\(|Console\(|Table\(|markup", source)
    assert not ways.intersection(names_in(path))


def test_the_door_writes_no_markup() -> None:
    """Its consoles and texts take strings as they are."""
    source = (CLI / "console.py").read_text(encoding="utf-8")
    (console,) = re.findall(r"return Console\(([^)]*)\)", source)
    assert console.split()[-3:] == ["markup=False,", "emoji=False,", "highlight=False,"]
    assert re.findall(r"(?:Text|Console)\([^)]*", source)[1:] == [
        "Text(visible(text"
    ], "a text is made in one place"


def test_long_sentences_fit_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe they are one line, for other programs."""
    text = "Take Q4_K_M: it loses least of those that keep to the limits."
    assert paragraph(text) == [text]
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True))
    assert paragraph(text) == [
        "Take Q4_K_M: it loses least of",
        "those that keep to the limits.",
    ]
