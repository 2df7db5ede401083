"""Notebooks: a pandas frame and a Matplotlib plot of a comparison, and progress."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import matplotlib
import pytest
from matplotlib import pyplot

from quantkit.errors import QuantkitError
from quantkit.evaluate.comparing import compare
from quantkit.evaluate.measuring import perplexity
from quantkit.evaluate.results import Comparison
from quantkit.notebook import _as_html
from quantkit.plotting.colors import COLORS
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens.options import TextOptions

TYPES = ["Q8_0", "Q4_0", "Q4_K_M", "Q2_K"]


@pytest.fixture(scope="module")
def found() -> Comparison:
    text = DEMO_TEXT.read_text(encoding="utf-8")[:6000]
    options = TextOptions(ctx=64, chunks=4)
    return compare(DEMO_MODEL, TYPES, text=text, options=options, threads=1)


@pytest.fixture(autouse=True)
def no_windows() -> Iterator[None]:
    """Figures are drawn in memory, and closed."""
    with matplotlib.rc_context():
        matplotlib.use("agg")
        yield
        pyplot.close("all")


def test_a_frame_holds_every_record(found: Comparison) -> None:
    """A row for the base and each type, a column for each figure."""
    frame = found.to_pandas()
    records = found.to_records()
    assert list(frame["name"]) == ["BF16", *TYPES]
    assert list(frame.columns) == list(records[0])
    assert frame["kld_mean"].dtype == "float64"
    assert list(frame["ppl"]) == [record["ppl"] for record in records]
    assert list(frame["kld_mean"]) == [0, *(row.kld_mean for row in found.results)]
    assert list(frame["quantize_seconds"].isna()) == [True, *[False] * len(TYPES)]


def test_a_plot_shows_every_type(found: Comparison) -> None:
    """A named point at each size and divergence; the best types in color; the base."""
    axes = found.plot()
    lines = [container[0] for container in axes.containers]
    places = [tuple(line.get_xydata()[0]) for line in lines]
    expected = [(row.size_bytes / 2**20, row.kld_mean) for row in found.results]
    assert places == expected
    names = {text.get_text() for text in axes.texts}
    assert names == {*TYPES, "BF16 (base)"}
    colored = [line.get_color() == COLORS.best for line in lines]
    assert colored == [name in found.pareto() for name in TYPES]
    (front,) = (line for line in axes.lines if line.get_label() == "Pareto front")
    best = sorted(
        (r.size_bytes / 2**20, r.kld_mean)
        for r in found.results
        if r.name in found.pareto()
    )
    assert front.get_xydata().tolist() == [list(place) for place in best]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert "MiB" in axes.get_xlabel()
    assert "KL divergence" in axes.get_ylabel()


def test_a_plot_draws_on_given_axes(found: Comparison) -> None:
    """No other figure is made, and it can be saved."""
    figure, axes = pyplot.subplots()
    assert found.plot(axes) is axes
    assert pyplot.get_fignums() == [figure.number]
    image = io.BytesIO()
    figure.savefig(image, format="png")
    assert image.getvalue().startswith(b"\x89PNG")


class Display:
    """What a notebook shows below a cell."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def __call__(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Display:
        assert display_id
        self.update(data, raw=raw)
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        assert data["text/plain"] == ""
        self.shown.append(data["text/html"])


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Display:
    """This process as the kernel of a notebook."""
    display = Display()
    shell = SimpleNamespace(kernel=object())
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    parts = SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", parts)
    return display


def test_a_notebook_shows_progress(display: Display) -> None:
    """A bar with the stage; it is removed at the end, also after an error."""
    options = TextOptions(ctx=64, chunks=1)
    perplexity(DEMO_MODEL, "A text. " * 99, options=options)
    first, *_, last = display.shown
    assert first.startswith("<progress value=")
    assert "% " in first
    assert last == ""
    display.shown.clear()
    with pytest.raises(QuantkitError):
        perplexity(DEMO_MODEL, "short", options=options)
    assert not any(display.shown[-1:])


def test_a_callback_is_used_instead_of_the_bar(display: Display) -> None:
    """Also in notebooks; and names are text in the bar."""
    called: list[str] = []
    options = TextOptions(ctx=64, chunks=1)
    text = "A text. " * 99
    perplexity(
        *(DEMO_MODEL, text),
        options=options,
        progress=lambda stage, *_: called.append(stage),
    )
    assert called
    assert not display.shown
    assert _as_html("<b>\x1b", 0, 0, 61.5).endswith("0 % &lt;b&gt;\\x1b (1:01)")


def test_nothing_is_shown_elsewhere(
    display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in scripts, and not in IPython in a terminal, whose shell has no kernel."""
    terminal = SimpleNamespace(get_ipython=lambda: SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    perplexity(DEMO_MODEL, "A text. " * 99, options=TextOptions(ctx=64, chunks=1))
    assert not display.shown


@pytest.mark.parametrize(
    ("module", "use", "extra"),
    [
        ("matplotlib", lambda found: found.plot(), "plot"),
        ("pandas", lambda found: found.to_pandas(), "pandas"),
    ],
)
def test_a_missing_package_is_named(
    found: Comparison,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    use: Any,
    extra: str,
) -> None:
    """With the command that installs it."""
    for name in [n for n in sys.modules if n.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(QuantkitError, match=rf"pip install 'quantkit\[{extra}\]'"):
        use(found)
