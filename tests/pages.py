"""A real Chromium, and the page of `examples/browser` in it."""

import functools
import http.server
import math
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from backends import BACKEND

PAGE = Path(__file__).parents[1] / "examples" / "browser"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Strokes in a unit square.
CIRCLE = [
    (0.5 - 0.2 * math.sin(turn), 0.5 - 0.32 * math.cos(turn))
    for turn in np.linspace(0, 2 * math.pi, 17)
]
DIGITS = {
    "0": [CIRCLE],
    "1": [[(0.5, 0.2), (0.48, 0.8)]],
    "4": [[(0.3, 0.2), (0.28, 0.55), (0.7, 0.55)], [(0.68, 0.25), (0.65, 0.85)]],
    "7": [[(0.25, 0.25), (0.75, 0.25), (0.45, 0.85)]],
}
# Whatever moves on a page without the visitor having done anything.
WATCH_SHIFTS = """
    window.shifts = [];
    new PerformanceObserver((list) => list.getEntries().forEach((shift) => {
      if (!shift.hadRecentInput)
        shifts.push(shift.sources.map(({ node }) => node?.id || node?.nodeName));
    })).observe({ type: "layout-shift", buffered: true });
"""


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Server:
    """A static server of a folder, on a port of its own."""

    def __init__(self, folder):
        handler = functools.partial(Files, directory=folder)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no playwright: `pip install playwright`"
    )
    if BACKEND != "tensorflow":
        pytest.skip("the page's models are written by TensorFlow")
    if not CHROMIUM:
        pytest.skip("no Chromium: `apt-get install chromium`, or its like")
    # A process of root has no sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def visit(browser):
    """Opens an address in the browser. No page may complain, to the very end."""
    contexts, complaints = [], []

    def open_page(url, **screen):
        context = browser.new_context(**screen)
        contexts.append(context)
        # Which browsers ask for where a page names no icon of its own.
        context.route("**/favicon.ico", lambda route: route.fulfill(status=204))
        context.add_init_script(WATCH_SHIFTS)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
