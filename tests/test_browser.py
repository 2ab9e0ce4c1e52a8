"""The page of `examples/browser`, as a visitor meets it, in a real Chromium."""

import functools
import http.server
import io
import math
import os
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from backends import BACKEND
from conftest import MNIST_DIR
from keras import ops
from PIL import Image

import keras_ram

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright: `pip install playwright`"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BACKEND != "tensorflow", reason="the page's models are written by TensorFlow"
    ),
    pytest.mark.skipif(
        not CHROMIUM, reason="no Chromium: `apt-get install chromium`, or its like"
    ),
]
PAGE = Path(__file__).parents[1] / "examples" / "browser"
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
SCREENS = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "telephone": {
        "viewport": {"width": 390, "height": 844},
        "is_mobile": True,
        "has_touch": True,
        "color_scheme": "dark",
        "reduced_motion": "reduce",  # all glimpses at once
    },
}


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
    # A process of root has no sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built page, in a folder below the one that is served."""
    sys.path.insert(0, str(PAGE))
    import build

    folder = tmp_path_factory.mktemp("host")
    mnist = ["--data-dir", str(MNIST_DIR)] if MNIST_DIR.is_dir() else []
    try:
        build.main([str(folder / "look"), "--presets", "ram_mnist", *mnist])
    except SystemExit as reason:
        pytest.skip(str(reason))
    return folder


@pytest.fixture(scope="module")
def visit(browser):
    """Opens an address in the browser. No page may complain, to the very end."""
    contexts, complaints = [], []

    def open_page(url, **screen):
        context = browser.new_context(**screen)
        contexts.append(context)
        # Which browsers ask for where a page names no icon of its own.
        context.route("**/favicon.ico", lambda route: route.fulfill(status=204))
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture(scope="module")
def server(site):
    server = Server(site)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def page(server, visit):
    """The page on a desktop, shared by the tests: it takes a while to start."""
    page = visit(f"{server.url}/look/", **SCREENS["desktop"])
    answer(page)
    return page


@pytest.fixture(scope="module")
def blank(visit):
    """A page that can import the scripts, of which nothing was built."""
    server = Server(PAGE)
    yield visit(f"{server.url}/style.css")
    server.stop()


def draw(page, strokes):
    page.click("#clear")
    box = page.locator("#pad").bounding_box()
    for stroke in strokes:
        places = [
            (box["x"] + x * box["width"], box["y"] + y * box["height"])
            for x, y in stroke
        ]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=5)
        page.mouse.up()


def answer(page):
    page.wait_for_function(
        "/after/.test(document.getElementById('answer').textContent)"
    )
    return page.inner_text("#answer")


def check_drawing(page, width):
    height = page.evaluate("document.body.scrollHeight")
    for label, strokes in DIGITS.items():
        draw(page, strokes)
        assert answer(page).startswith(f"{label} (")
        guesses = page.locator("#glimpses span").all_inner_texts()
        taken = ["%" in guess for guess in guesses]
        assert len(taken) == 7 and taken[0]
        assert taken == sorted(taken, reverse=True)  # none after the stop
        assert page.inner_text("#time").endswith(" ms")
        assert page.evaluate("document.body.scrollHeight") == height  # nothing jumps
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_a_visitor_draws(page, tmp_path):
    page.emulate_media(reduced_motion="reduce")
    check_drawing(page, 1280)
    page.screenshot(path=tmp_path / "desktop.png", full_page=True)


def test_a_visitor_draws_on_a_telephone_and_then_without_network(site, visit, tmp_path):
    server = Server(site)
    page = visit(f"{server.url}/look/", **SCREENS["telephone"])
    answer(page)
    check_drawing(page, 390)
    page.screenshot(path=tmp_path / "telephone.png", full_page=True)
    page.evaluate("navigator.serviceWorker.ready")
    server.stop()
    page.reload()
    answer(page)
    draw(page, DIGITS["7"])
    assert answer(page).startswith("7 (")


def test_keys_and_motion(page):
    page.emulate_media(reduced_motion="no-preference")
    page.keyboard.press("8")
    page.wait_for_function("/^Glimpse 2 of [2-7]/.test(answer.textContent)")
    assert page.locator("#glimpses li.now").count() == 1
    assert page.locator("#glimpses span").nth(1).inner_text().endswith("%)")
    assert page.locator("#glimpses span").nth(6).inner_text().strip() == ""
    page.keyboard.press("Backspace")
    page.wait_for_function("answer.textContent === 'Draw a digit'")


def test_a_digit_is_dragged_over_a_larger_canvas(page):
    page.emulate_media(reduced_motion="reduce")
    draw(page, DIGITS["0"])
    page.locator("#size").fill("60")
    scene = page.locator("#scene")
    box = scene.bounding_box()
    edges = []
    for x in (0.01, 0.99):
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + x * box["width"], box["y"] + box["height"] / 2)
        shown = np.asarray(Image.open(io.BytesIO(scene.screenshot())).convert("L"))
        edges.append(np.nonzero(shown == 255)[1].max() / shown.shape[1])
        page.mouse.up()
    # Half a canvas of 60 less a digit of 28 lies between the outermost places.
    np.testing.assert_allclose(edges[1] - edges[0], (60 - 28) / 60, atol=0.01)
    page.locator("#size").fill("28")


def test_a_picture_is_shown_and_a_text_is_refused(page, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    page.set_input_files("#file", tmp_path / "notes.txt")
    page.wait_for_function("/Try PNG or JPEG/.test(message.textContent)")
    draw(page, DIGITS["1"])
    page.locator("#pad").screenshot(path=tmp_path / "one.png")
    page.click("#clear")
    page.set_input_files("#file", tmp_path / "one.png")
    assert answer(page).startswith("1 (")
    assert "Try" not in page.inner_text("#message")


def test_labels_are_those_of_python(page, site):
    outputs = page.evaluate(
        """async () => {
          const { run } = await import("./model.js");
          const bytes = new Uint8Array(await (await fetch("digits.bin")).arrayBuffer());
          return run(bytes.slice(200), 28);
        }"""
    )
    contents = (site / "look" / "digits.bin").read_bytes()[200:]
    images = np.frombuffer(contents, "uint8").reshape(200, 28, 28, 1)
    model = keras_ram.RAM.from_preset("ram_mnist")
    look = model.rollout(images)
    expected = ops.convert_to_numpy(ops.softmax(look["logits"]))  # (200, T, 10)
    shown = np.reshape(outputs["step_probabilities"], expected.shape)
    np.testing.assert_array_equal(
        shown[:, -1].argmax(axis=1), expected[:, -1].argmax(axis=1)
    )
    np.testing.assert_array_equal(
        np.reshape(outputs["probabilities"], (200, 10)), shown[:, -1]
    )
    np.testing.assert_allclose(shown, expected, atol=1e-3)


def test_the_retina_sees_what_the_sensor_sees(blank, rng):
    image = rng.integers(0, 256, (23, 23))
    locations = rng.uniform(-1.2, 1.2, (20, 2)).astype("float32")
    scales = [1, 2.5, 0.3, 8]
    sensor = keras_ram.GlimpseSensor(patch_size=5, scales=scales)
    images = np.repeat(image[None, :, :, None].astype("float32"), 20, axis=0)
    expected = ops.convert_to_numpy(sensor(images, locations))[..., 0]
    seen = blank.evaluate(
        """async ([image, locations, scales]) => {
          const { retina } = await import("./image.js");
          return locations.map((location) => scales.map(
            (scale) => Array.from(retina(image, 23, location, 5, scale))));
        }""",
        [image.ravel().tolist(), locations.tolist(), scales],
    )
    np.testing.assert_allclose(np.reshape(seen, expected.shape), expected, atol=1e-3)


def test_strokes_become_digits_as_mnist_holds_them(blank):
    digits = blank.evaluate(
        """async (drawings) => {
          const { digitOf } = await import("./image.js");
          return drawings.map((strokes) => Array.from(digitOf(strokes)));
        }""",
        [DIGITS["0"], DIGITS["7"]],
    )
    ring, seven = np.reshape(digits, (2, 28, 28))
    for digit in (ring, seven):
        rows, columns = np.nonzero(digit)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (20, 21)
        centres = np.arange(28) + 0.5
        middle = [centres @ digit.sum(axis=axis) / digit.sum() for axis in (0, 1)]
        np.testing.assert_allclose(middle, 14, atol=0.6)
    assert ring.max() == 255 and ring[14, 14] == 0
    # As thick as MNIST's: 2.5 pixels along the ring's circumference.
    assert 0.5 < ring.sum() / 255 / (2.5 * 2 * math.pi * 7.2) < 1.5
