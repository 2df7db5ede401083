"""Reports of results: one HTML page that loads nothing, or a figure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
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
from quantkit.quantizing.rounding import Nearest
from quantkit.quantizing.sampled_errors import PLACES, sampled_errors
from quantkit.sources.opening import open_source
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT

TYPES = ["Q8_0", "Q4_K_M", "Q2_K"]
OPTIONS = qk.TextOptions(ctx=64, chunks=4)
EVIL = "<script>alert(1)</script>\x1b[2J"


@cache
def page_of(name: str) -> str:
    """The page of a result."""
    with TemporaryDirectory() as folder:
        return written(RESULTS[name](), Path(folder), command="quantkit ppl a b")


@cache
def compared() -> qk.Comparison:
    return qk.compare(DEMO_MODEL, TYPES, text=DEMO_TEXT, options=OPTIONS, details=True)


@cache
def chosen() -> qk.Choice:
    budget = qk.Budget(max_size=3_000_000)
    return qk.choose(
        DEMO_MODEL, budget, TYPES, text=DEMO_TEXT, options=OPTIONS, details=True
    )


@cache
def embeddings() -> qk.EmbeddingComparison:
    source = open_source(DEMO_MODEL)
    pooled = {**source.metadata, "llama.pooling_type": uint32(1)}
    model = SimpleNamespace(metadata=pooled, tensors=source.tensors)
    return qk.compare_embeddings(
        model, TYPES, text=DEMO_TEXT, options=OPTIONS, details=True
    )


RESULTS: dict[str, Any] = {
    "comparison": compared,
    "choice": chosen,
    "embeddings": embeddings,
}


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


@pytest.mark.parametrize("name", RESULTS)
def test_a_page_is_one_whole_file(name: str) -> None:
    """It is well formed, and loads nothing: whatever it refers to is in it, once."""
    html = page_of(name)
    page = Page(html)
    assert page.used <= page.ids.keys()
    assert set(page.ids.values()) == {1}
    assert page.tags["svg"] == page.tags["desc"] >= 4
    assert not page.tags.keys() & {"script", "img", "link", "iframe", "image"}
    namespace = "http://www.w3.org/2000/svg"
    assert set(re.findall(r"https?://[^\"'\s<]*", html)) == {namespace}
    assert "@import" not in html
    assert "quantkit ppl a b" in page.texts["code"]


def test_a_page_answers_and_shows_why() -> None:
    """The verdict, every row's figures, recipes, errors, and how it was measured."""
    found = compared()
    page = Page(page_of("comparison"))
    text = page.texts
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
    assert all(names[name] >= 2 * 4 for name in TYPES)  # wide and narrow


def test_the_chosen_type_stands_out() -> None:
    """In the table, and by its color."""
    choice = chosen()
    assert choice.chosen is not None
    html = page_of("choice")
    assert choice.sentence.split(":")[0] in html
    (row,) = re.findall(r'<tr class="marked">\s*<th scope="row">([^<]*)', html)
    assert row == choice.chosen.name
    assert "var(--chosen)" in html.partition("</style>")[2]


def test_foreign_names_are_text(tmp_path: Path) -> None:
    """Names of models, texts and types in tables, figures, facts and the command."""
    found = compared()
    row = replace(found.results[0], name=EVIL)
    text = replace(found.texts[0], text=EVIL, results=[row])
    evil = replace(
        found,
        model=EVIL,
        text=EVIL,
        results=[row],
        texts=[text],
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
    page = Page(html)
    assert "script" not in page.tags
    assert all(line.isprintable() for line in html.split("\n"))
    assert html.count("&lt;script&gt;") > 10


def test_what_is_unknown_is_left_out(tmp_path: Path) -> None:
    """One chunk has no errors; without details there are no recipes; without types, or
    if nothing had to be measured, there are no figures."""
    one = qk.TextOptions(ctx=64, chunks=1)
    short = qk.compare(DEMO_MODEL, "Q4_0", text=DEMO_TEXT, options=one)
    page = Page(written(short, tmp_path))
    assert "Recipes" not in page.texts["h2"]
    assert any("one chunk has no errors" in text for text in page.texts["p"])
    assert "nan" not in "".join(page.texts["td"]).lower()
    alone = qk.compare(DEMO_MODEL, text=DEMO_TEXT, options=one)
    fits = qk.choose(DEMO_MODEL, qk.Budget(max_size=10**9), "Q4_0", text=DEMO_TEXT)
    for result in (alone, fits):
        page = Page(written(result, tmp_path))
        assert not page.tags["svg"]
        with pytest.raises(qk.QuantkitError, match="there is none"):
            qk.write_report(result, tmp_path / "figure.png")
    assert not (tmp_path / "figure.png").exists()


def test_figures_are_files_too(tmp_path: Path) -> None:
    """PNG and SVG; the same result gives the same SVG."""
    for name in ("a.png", "a.svg", "b.svg"):
        qk.write_report(compared(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    """Another suffix, another result, a folder that is not there."""
    with pytest.raises(qk.OptionError, match=r"expected a name that ends in \.html"):
        qk.write_report(compared(), tmp_path / "report.pdf")
    with pytest.raises(qk.OptionError, match="`result` is of type str"):
        qk.write_report("x", tmp_path / "report.html")  # type: ignore[arg-type]
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
    near = chosen().comparison
    assert near is not None
    assert near.details is not None
    assert near.details.weight_errors.keys() == {"Q4_K_M", "Q2_K", "Q8_0"}


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
    found = sampled_errors(tensor, qk.QuantType.Q4_0, [Nearest(w) for w in weights])
    assert found.n <= max(rows.size, PLACES * shape[-1])
    if rows.size < 1 << 13:
        whole = sampled_errors(tensor, qk.QuantType.Q4_0, [Nearest(w) for w in weights])
        assert whole == found
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


def test_colors_of_errors_are_in_order() -> None:
    """The least is faint, the largest strong, none for no error."""
    map = HeatMap("a", {"q": {0: 0.1, 1: 0.2}, "k": {0: 0.3, 1: 0.0}})
    opacities = [map.opacity(error) for error in (0.0, 0.1, 0.2, 0.3)]
    assert opacities == sorted(opacities)
    assert (opacities[0], opacities[-1]) == (0, 1)
    assert HeatMap("a", {"q": {0: 0.1}}).opacity(0.1) > 0


def test_commands_write_reports(tmp_path: Path) -> None:
    """Beside what they print; the page names the command."""
    page, figure = tmp_path / "a.html", tmp_path / "a.png"
    options = ["--types", "Q4_0", "--text", str(DEMO_TEXT), "--ctx", "64"]
    options += ["--chunks", "2", "--html", str(page), "--png", str(figure)]
    result = run("ppl", str(DEMO_MODEL), *options)
    assert "Q4_0" in result.stdout
    assert "Where the error is" in page.read_text(encoding="utf-8")
    assert figure.read_bytes().startswith(b"\x89PNG")
    limits = ["--max-size", "5M", "--types", "Q8_0,Q4_0", "--chunks", "4", "-q"]
    choice = tmp_path / "c.png"
    run("choose", str(DEMO_MODEL), *limits, "--png", str(choice))
    assert choice.read_bytes().startswith(b"\x89PNG")


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
