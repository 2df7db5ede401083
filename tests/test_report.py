"""Reports of results: one HTML page that loads nothing, or a figure."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from typer.testing import CliRunner, Result

import quantkit as qk
from quantkit.cli.main import app
from quantkit.gguf.keys import uint32
from quantkit.gguf.source import SourceTensor
from quantkit.plotting.canvas import new_figure
from quantkit.plotting.heat import HeatMap
from quantkit.plotting.labels import Named, place_names
from quantkit.plotting.losses import Losses, Point
from quantkit.plotting.strips import Strip, is_wide
from quantkit.quantizing.rounding import Nearest
from quantkit.quantizing.sampled_errors import SAMPLE_WEIGHTS, sampled_errors
from quantkit.quantizing.slabs import slabs_of
from quantkit.quantizing.tensor_errors import TensorErrors, convert_and_measure
from quantkit.sources.opening import open_source
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT

TYPES = ["Q8_0", "Q4_K_M", "Q2_K"]
OPTIONS = qk.TextOptions(ctx=64, chunks=4)
EVIL = "<script>alert(1)</script>\x1b[2J"


@cache
def compared() -> qk.Comparison:
    return qk.compare(DEMO_MODEL, TYPES, text=DEMO_TEXT, options=OPTIONS, details=True)


@cache
def embeddings() -> qk.EmbeddingComparison:
    source = open_source(DEMO_MODEL)
    pooled = {**source.metadata, "llama.pooling_type": uint32(1)}
    model = SimpleNamespace(metadata=pooled, tensors=source.tensors)
    return qk.compare_embeddings(model, TYPES, text=DEMO_TEXT, options=OPTIONS)


class Page(HTMLParser):
    """What a page has: identifiers, headings, texts; tags are closed in order."""

    EMPTY = ("meta", "link", "br", "hr", "img", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.used: set[str] = set()
        self.texts: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags[tag] += 1
        for key, value in attrs:
            if key == "id":
                self.ids[value] += 1
            elif key in ("href", "xlink:href", "src"):
                assert value.startswith("#")
                self.used.add(value[1:])
            elif key.startswith("aria-") and key != "aria-label":
                self.used.add(value)
            self.used.update(re.findall(r"url\(#([^)]*)\)", value or ""))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.setdefault(self.open[-1], []).append(data.strip())


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def written(result: Any, folder: Path, **options: Any) -> str:
    path = folder / "report.html"
    qk.write_report(result, path, **options)
    return path.read_text(encoding="utf-8")


def checked(html: str) -> Page:
    """A page that is well formed and loads nothing: all that it refers to is in it."""
    page = Page(html)
    assert page.used <= page.ids.keys()
    assert set(page.ids.values()) <= {1}
    assert page.tags["svg"] == page.tags["desc"]
    assert not page.tags.keys() & {"script", "img", "link", "iframe", "image"}
    namespace = "http://www.w3.org/2000/svg"
    assert set(re.findall(r"https?://[^\"'\s<]*", html)) <= {namespace}
    assert "@import" not in html
    assert all(line.isprintable() for line in html.split("\n"))
    return page


def test_a_page_answers_and_shows_why(tmp_path: Path) -> None:
    """The verdict, every row's figures, recipes, errors, and how it was measured."""
    found = compared()
    page = checked(written(found, tmp_path, command="quantkit ppl a b"))
    text = page.texts
    assert "quantkit ppl a b" in text["code"]
    assert text["p"][2].startswith("Q4_K_M is the smallest with a KLD below 0.01")
    assert text["h2"] == [
        *("Types", "Size and divergence", "Size and perplexity", "Chunk by chunk"),
        *("Where the error is", "Recipes", "How it was measured"),
    ]
    cells = found.cells(columns=["size", "kld", "kld99.9"])
    assert {cell for row in cells.rows for cell in row[1:] if cell} <= set(text["td"])
    assert "2 Q4_K, 2 Q6_K" in text["td"]
    assert found.details is not None
    assert found.details.text_hashes[0] in text["code"]
    names = Counter(text["text"])
    assert names["Q8_0"] == names["Q4_K_M"] == 2 * 4  # wide and narrow
    assert names["Q2_K"] == 2 * 3
    assert sum("Beyond the axis: Q2_K (" in t for t in text["figcaption"]) == 1


def test_a_page_of_embeddings(tmp_path: Path) -> None:
    """Their distances, and gains of importance; without details, no recipes."""
    found = replace(embeddings(), weighed=[("Q2_K", "Q8_0")])
    page = checked(written(found, tmp_path))
    (gain,) = found.difference_cells(found.gains()).rows
    assert set(gain[2:]) <= set(page.texts["td"])
    headings = ["Types", "Size and distance", "How it was measured"]
    assert page.texts["h2"] == headings
    assert page.tags["svg"] == 2


def test_foreign_and_unknown_values(tmp_path: Path) -> None:
    """Names of models, texts and types are text, in tables, figures, facts and the
    command; errors of one chunk are left out."""
    one = qk.TextOptions(ctx=64, chunks=1)
    found = qk.compare(DEMO_MODEL, "Q8_0", text=DEMO_TEXT, options=one)
    row = replace(found.results[0], name=EVIL)
    evil = replace(
        found,
        model=EVIL,
        text=EVIL,
        results=[row],
        texts=[replace(found.texts[0], text=EVIL, results=[row])],
        scores={"BF16": found.scores["BF16"], EVIL: found.scores["Q8_0"]},
        fallbacks={EVIL: [EVIL]},
        details=qk.Details(
            {EVIL: {f"blk.0.{EVIL}": qk.QuantType.Q8_0}},
            {EVIL: {f"blk.0.{EVIL}": 0.5}},
            [EVIL],
            [EVIL],
        ),
    )
    html = written(evil, tmp_path, command=EVIL)
    page = checked(html)
    assert html.count("&lt;script&gt;") > 10
    assert "nan" not in html.partition("</style>")[2].lower()
    assert any("one chunk has no errors" in text for text in page.texts["p"])


def test_nothing_to_compare_gives_no_figures(tmp_path: Path) -> None:
    """Only a base, or a choice for which nothing had to be measured."""
    one = qk.TextOptions(ctx=64, chunks=1)
    alone = qk.compare(DEMO_MODEL, text=DEMO_TEXT, options=one)
    fits = qk.choose(DEMO_MODEL, qk.Budget(max_size=10**9), "Q4_0", text=DEMO_TEXT)
    for result in (alone, fits):
        assert not checked(written(result, tmp_path)).tags["svg"]
        with pytest.raises(qk.QuantkitError, match="there is none"):
            qk.write_report(result, tmp_path / "figure.png")
    assert not (tmp_path / "figure.png").exists()


def test_figures_are_files_too(tmp_path: Path) -> None:
    """The same result gives the same SVG."""
    for name in ("a.svg", "b.svg"):
        qk.write_report(compared(), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    """Another suffix, another result, a folder that is not there."""
    with pytest.raises(qk.OptionError, match=r"expected a name that ends in \.html"):
        qk.write_report(compared(), tmp_path / "report.pdf")
    with pytest.raises(qk.OptionError, match="`result` is of type str"):
        qk.write_report("x", tmp_path / "report.html")  # type: ignore[arg-type]
    with pytest.raises(qk.OptionError, match="`command` is 3; expected a text"):
        qk.write_report(compared(), tmp_path / "a.html", command=3)  # type: ignore[arg-type]
    with pytest.raises(qk.OptionError, match="`ax` is 3; expected Matplotlib axes"):
        compared().plot(3)
    with pytest.raises(qk.OutputError, match="there is no folder"):
        qk.write_report(compared(), tmp_path / "no" / "report.html")
    assert not list(tmp_path.iterdir())


def test_details_say_where_the_error_is() -> None:
    """Relative errors of the tensors that change; larger for smaller types."""
    details = compared().details
    assert details is not None
    assert details.weight_errors.keys() == set(TYPES)
    assert details.types["BF16"]["blk.0.ffn_up.weight"] is qk.QuantType.BF16
    means = {
        name: np.mean(list(errors.values()))
        for name, errors in details.weight_errors.items()
    }
    assert means["Q8_0"] < 0.01 < means["Q4_K_M"] < means["Q2_K"] < 0.5
    assert (
        compared().to_dict()["details"]["types"]["Q8_0"]["token_embd.weight"] == "Q8_0"
    )


@pytest.mark.parametrize("shape", [(3, 64), (999, 64), (8, 5, 64), (2, 4096)])
def test_samples_are_of_whole_rows_in_their_share(shape: tuple[int, ...]) -> None:
    """Each row with the importance of its own matrix; small tensors wholly."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(int(np.prod(shape[:-1])), shape[-1])).astype(np.float32)
    tensor = SourceTensor(
        "a", shape, qk.QuantType.F32, lambda i, j: rows[i:j].view(np.uint8)
    )
    n_matrices = shape[0] if len(shape) == 3 else 1
    weights = rng.uniform(0.1, 1, (n_matrices, shape[-1])).astype(np.float32)
    roundings = [Nearest(w) for w in weights]
    found = sampled_errors(tensor, qk.QuantType.Q4_0, roundings)
    assert 0.9 * min(rows.size, SAMPLE_WEIGHTS) < found.n <= SAMPLE_WEIGHTS
    slabs = slabs_of(tensor, qk.QuantType.Q4_0, roundings)
    whole = sum((convert_and_measure(slab)[1] for slab in slabs), TensorErrors())
    if found.n == whole.n:
        assert math.isclose(found.weighted_error, whole.weighted_error, rel_tol=1e-12)
        assert found.largest == whole.largest
    assert found.relative is not None
    assert 0.03 < found.relative < 0.15
    assert sampled_errors(tensor, qk.QuantType.F32).relative is None


def test_names_cover_nothing() -> None:
    """Names of points in a crowd are moved or left out; the needed ones are written."""
    figure = new_figure(4, 3)
    axes = figure.subplots()
    figure.draw_without_rendering()
    crowd = [Named(f"type {i}", 0.5 + i / 999, 0.5, "k", int(i > 0)) for i in range(60)]
    left_out = place_names(axes, crowd)
    figure.draw_without_rendering()
    texts = [text.get_text() for text in axes.texts]
    assert "type 0" in texts
    assert sorted([*texts, *left_out]) == sorted(p.name for p in crowd)
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    area = axes.get_window_extent()
    for i, box in enumerate(boxes):
        assert area.x0 <= box.x0 <= box.x1 <= area.x1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_axes_show_what_can_be_told_apart() -> None:
    """Sizes in a unit that fits; a noise floor if it is near; far losses are named."""
    sizes_and_losses = [(3, 0.5), (4, 0.02), (5, 0.01), (8, 0.0)]
    points = [
        Point(f"t{size}", size << 30, loss, 0.001, is_best=True)
        for size, loss in sizes_and_losses
    ]
    floors = {"q8": 0.004, "i16": 1e-7}
    log = Losses(points, ("F16", 16 << 30), "KLD", floors=floors)
    axes = new_figure(5, 4).subplots()
    assert log.draw(axes) == []
    assert axes.get_xlabel() == "size of the file (GiB)"
    assert [p.name for p in log.beyond] == ["t8"]
    texts = {text.get_text() for text in axes.texts}
    assert texts == {"t3", "t4", "t5", "F16 (base)", "noise floor (q8)"}
    assert 1e-7 < axes.get_ylim()[0] < 0.004
    linear = replace(log, of_base=0.0, is_log=False)
    assert [p.name for p in linear.beyond] == ["t3"]
    alike = [Strip("a", np.zeros(2), mean, 0.1, True) for mean in (1.0, 2.0, 2.0)]
    assert not is_wide(alike)
    assert is_wide([*alike, Strip("d", np.zeros(2), 99.0, 0.1, True)])


def test_colors_of_errors_are_in_order() -> None:
    """The least is faint, the largest strong, none for no error."""
    map = HeatMap("a", {"q": {0: 0.1, 1: 0.2}, "k": {0: 0.3, 1: 0.0}})
    opacities = [map.opacity(error) for error in (0.0, 0.1, 0.2, 0.3)]
    assert opacities == sorted(opacities)
    assert (opacities[0], opacities[-1]) == (0, 1)
    assert HeatMap("a", {"q": {0: 0.1}}).opacity(0.1) > 0


def test_commands_write_reports(tmp_path: Path) -> None:
    """Beside what they print; the page names the command and marks the chosen type."""
    page, figure = tmp_path / "a.html", tmp_path / "a.png"
    options = ["--types", "Q8_0,Q4_0,Q2_K", "--text", str(DEMO_TEXT), "-q"]
    options += ["--chunks", "4", "--chunk-size", "64"]
    files = [f"--html={page}", f"--png={figure}"]
    result = run("choose", str(DEMO_MODEL), "--max-size=3M", *files, *options)
    assert "Take Q4_0" in result.stdout
    html = page.read_text(encoding="utf-8")
    shown = checked(html).texts
    assert result.stdout.split(":")[0] in shown["p"][2]
    assert "Where the error is" in shown["h2"]
    (row,) = re.findall(r'<tr class="marked">\s*<th scope="row">([^<]*)', html)
    assert row == "Q4_0"
    assert "var(--chosen)" in html.partition("</style>")[2]
    assert figure.read_bytes().startswith(b"\x89PNG")
    fits = ["choose", str(DEMO_MODEL), "--max-size=1G", "--png", f"{figure}.png"]
    result = run(*fits)
    assert "is not written: no type was compared" in result.stderr
    assert not result.exit_code


@pytest.mark.slow
def test_ppl_writes_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of everything, or of what was measured until Ctrl-C."""
    page, figure = tmp_path / "a.html", tmp_path / "a.png"
    files = [f"--html={page}", f"--png={figure}", "--types=Q8_0,Q4_0"]
    command = ["ppl", str(DEMO_MODEL), *files, "--chunks=9", "--ctx=64", "-q"]
    assert not run(*command).exit_code
    whole = checked(page.read_text(encoding="utf-8")).texts
    assert "Where the error is" in whole["h2"]
    assert any(": 9 chunks of" in text for text in whole["div"])
    assert figure.read_bytes().startswith(b"\x89PNG")

    @contextmanager
    def stopping(*_: object) -> Iterator[Any]:
        def stop(stage: str, done: int, total: int) -> None:
            if "perplexity" in stage and done == 5:
                raise KeyboardInterrupt

        yield stop

    monkeypatch.setattr("quantkit.cli.ppl.live_table", stopping)
    assert run(*command).exit_code
    begun = checked(page.read_text(encoding="utf-8")).texts
    assert "Where the error is" not in begun["h2"]
    assert not any(": 9 chunks of" in text for text in begun["div"])


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--html", "a.txt", "does not end in .html"),
        ("--png", "a.svg", "does not end in .png"),
        ("--html", "text.html", "is the same file as --text"),
        ("--html", "no/a.html", "there is no folder"),
    ],
)
def test_commands_refuse_reports_at_once(
    option: str, name: str, message: str, tmp_path: Path
) -> None:
    """Before anything is measured; an input is never overwritten."""
    text = tmp_path / "text.html"
    text.write_text("A text. " * 99)
    given = ["--text", str(text), option, str(tmp_path / name)]
    result = run("ppl", str(DEMO_MODEL), *given)
    assert result.exit_code
    assert message in f"{result.stderr}{result.exception}"
    assert text.read_text() == "A text. " * 99
    assert list(tmp_path.iterdir()) == [text]
