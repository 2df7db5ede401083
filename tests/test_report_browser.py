"""A report in a real browser: it loads nothing, and fits a phone; needs Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import quantkit as qk
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT

pytestmark = pytest.mark.interop

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--disable-default-apps", "--disable-sync", "--disable-extensions"),
)
OF_CHROMIUM = re.compile(
    r"^(http://)?(accounts|clients\d|optimizationguide-pa|update|www)"
    r"\.google(apis)?\.com(:443|/)"
)
"""What the browser asks for itself, whatever page it shows."""

FRAME = """<!DOCTYPE html>
<iframe src="/report.html" style="border: 0; width: 390px; height: 9000px"></iframe>
<script>
onload = () => {
  const frame = document.querySelector("iframe");
  const page = frame.contentDocument;
  const measured = {};
  for (const width of [320, 390, 1280]) {
    frame.style.width = `${width}px`;
    const cut = [...page.querySelectorAll("main *")].filter(
      (each) => !each.closest(".scroll, svg, caption")
        && each.getBoundingClientRect().right > width + 0.5);
    measured[width] = {
      scroll: page.documentElement.scrollWidth,
      cut: cut.map((each) => each.tagName),
      figures: [...page.querySelectorAll("figure svg")]
        .filter((each) => each.getBoundingClientRect().width > 0).length,
    };
  }
  measured.paper = page.defaultView.getComputedStyle(page.body).backgroundColor;
  document.body.textContent = `<<${JSON.stringify(measured)}>>`;
};
</script>
"""


@contextmanager
def proxy(report: str) -> Iterator[tuple[str, list[str]]]:
    """A server that is also the browser's proxy, and what was requested of it."""
    asked: list[str] = []
    pages = {"/frame.html": FRAME, "/report.html": report}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            page = pages.get(re.sub("^http://[^/]*", "", self.path))
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write((page or "").encode())

        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_error(502)

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    options = qk.TextOptions(ctx=64, chunks=4)
    types = ["Q8_0", "Q6_K", "Q4_K_M", "Q4_0", "Q2_K"]
    found = qk.compare(DEMO_MODEL, types, text=DEMO_TEXT, options=options, details=True)
    qk.write_report(found, path, command="quantkit ppl " + "a-long-name" * 40)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("scheme", "is_dark"), [(0, True), (1, False)])
def test_a_report_in_a_browser(
    report: str, scheme: int, is_dark: bool, tmp_path: Path
) -> None:
    """Nothing is requested but the page; nothing is cut; each figure is shown once."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium or google-chrome in PATH")
    with proxy(report) as (address, asked):
        command = [
            *(CHROMIUM, *QUIET, f"--user-data-dir={tmp_path}"),
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--proxy-server={address}",
            *("--virtual-time-budget=9000", "--dump-dom", "http://a.test/frame.html"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    page = re.search("<<(.*)>>", unescape(done.stdout))
    assert page, done.stderr[-2000:]
    measured = json.loads(page[1])
    for width in (320, 390, 1280):
        assert measured[str(width)] == {"scroll": width, "cut": [], "figures": 4}
    red, green, blue = map(int, re.findall(r"\d+", measured["paper"]))
    assert (red + green + blue < 3 * 64) == is_dark
    pages = {"http://a.test/frame.html", "http://a.test/report.html"}
    others = {each for each in asked if not OF_CHROMIUM.search(each)}
    assert pages <= others <= pages | {"http://a.test/favicon.ico"}
