"""The page of `examples/browser`, as a visitor meets it, in a real Chromium."""

import io
import json
import sys

import numpy as np
import pytest
from conftest import MNIST_DIR
from keras import ops
from pages import DIGITS, PAGE, Server
from PIL import Image

import keras_ram
from keras_ram import datasets

pytestmark = pytest.mark.slow
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


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):
    """The built page, `ram_mnist` first, in a folder below the one that is served."""
    sys.path.insert(0, str(PAGE))
    import build

    folder = tmp_path_factory.mktemp("host")
    mnist = ["--data-dir", str(MNIST_DIR)] if MNIST_DIR.is_dir() else []
    presets = sorted(build.PRESETS, key=lambda name: name != "ram_mnist")
    try:
        build.main([str(folder / "look"), "--presets", *presets, *mnist])
    except SystemExit as reason:
        pytest.skip(str(reason))
    return folder


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


def draw_with_a_finger(page, strokes):
    page.click("#clear")
    box = page.locator("#pad").bounding_box()
    screen = page.context.new_cdp_session(page)
    for stroke in strokes:
        for moment, (x, y) in enumerate(stroke):
            place = {
                "x": box["x"] + x * box["width"],
                "y": box["y"] + y * box["height"],
            }
            touch = {"type": "touchMove" if moment else "touchStart"}
            screen.send("Input.dispatchTouchEvent", {**touch, "touchPoints": [place]})
        end = {"type": "touchEnd", "touchPoints": []}
        screen.send("Input.dispatchTouchEvent", end)


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
    assert page.evaluate("shifts") == []


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
    draw_with_a_finger(page, DIGITS["7"])
    assert answer(page).startswith("7 (")


def test_keys_and_motion(page):
    page.emulate_media(reduced_motion="no-preference")
    # What the page says, and how many guesses are shown, each time that it changes.
    page.evaluate("""
        window.said = [];
        new MutationObserver(() => {
          const guesses = [...document.querySelectorAll("#glimpses span")];
          const shown = guesses.filter((guess) => guess.textContent.endsWith("%)"));
          const now = document.querySelectorAll("#glimpses li.now").length;
          said.push([answer.textContent, shown.length, now]);
        }).observe(answer, { childList: true });
    """)
    page.keyboard.press("8")
    page.wait_for_function("said.length && / after /.test(said.at(-1)[0])")
    said = page.evaluate("said")
    count = len(said)
    assert 2 <= count <= 7
    assert said[-1][0].startswith("8 (") and f"after {count} glimpses" in said[-1][0]
    for step, (text, guesses, now) in enumerate(said, 1):
        assert step == count or text == f"Glimpse {step} of {count} …"
        assert (guesses, now) == (step, 1)
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


def test_a_model_that_does_not_load_leaves_the_one_before(browser, server):
    page = browser.new_page(**SCREENS["desktop"], service_workers="block")
    page.route("**/ram_translated*", lambda route: route.abort())
    page.goto(f"{server.url}/look/")
    answer(page)
    page.select_option("#preset", "ram_translated_mnist_60")
    page.wait_for_function("/Check the connection/.test(message.textContent)")
    assert page.input_value("#preset") == "ram_mnist"
    draw(page, DIGITS["4"])
    assert answer(page).startswith("4 (")
    page.close()


def test_a_visitor_reads_how_much_is_loaded(page, site):
    everything = sum(file.stat().st_size for file in (site / "look").iterdir())
    assert everything < 15e6
    assert f"{everything / 1e6:.1f} MB with all models" in page.inner_text("#facts")


def test_labels_of_every_preset_are_those_of_python(page, site):
    digits = np.fromfile(site / "look" / "digits.bin", "uint8")[200:]
    digits = digits.reshape(200, 28, 28, 1)
    for preset in json.loads((site / "look" / "site.json").read_text())["presets"]:
        size = preset["size"]
        images = datasets.clutter(digits, size, preset["pieces"], seed=0)
        images.tofile(site / "look" / "canvases.bin")
        outputs = page.evaluate(
            """async (preset) => {
              const { choose, load, run } = await import("./model.js");
              await choose(preset);
              return run(await load("canvases.bin"), preset.size);
            }""",
            preset,
        )
        look = keras_ram.RAM.from_preset(preset["name"]).rollout(images)
        expected = ops.convert_to_numpy(ops.softmax(look["logits"]))  # (200, T, 10)
        shown = np.reshape(outputs["step_probabilities"], expected.shape)
        np.testing.assert_array_equal(
            shown[:, -1].argmax(axis=1), expected[:, -1].argmax(axis=1), preset["name"]
        )
        np.testing.assert_array_equal(
            np.reshape(outputs["probabilities"], (200, 10)), shown[:, -1]
        )
        np.testing.assert_allclose(shown, expected, atol=1e-3, err_msg=preset["name"])
