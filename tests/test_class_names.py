"""The names of classes, from where they are given to where they are shown."""

import keras
import numpy as np
import pytest
from backends import FEW_STEPS, JIT
from keras import ops

import keras_ram

NAMES = ["cat", "dog", "great tit"]
IMAGES = np.linspace(0, 1, 5 * 64).reshape((5, 8, 8, 1)).astype("float32")


class Folder(keras.utils.PyDataset):
    """Batches that know what their classes are called, as those of a folder do."""

    def __init__(self, class_names):
        super().__init__()
        self.class_names = class_names

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return IMAGES, np.array([0, 1, 2, 0, 1])


def test_are_saved_and_set_without_compiling_anew(make_model, tmp_path):
    model = make_model(num_classes=3)
    model.compile(jit_compile=JIT)
    model.predict(IMAGES, verbose=0)
    compiled = model.predict_function
    assert model.class_names is None
    model.class_names = np.array(NAMES)
    assert model.predict_function is compiled
    model.save(tmp_path / "m.keras")
    assert keras.saving.load_model(tmp_path / "m.keras").class_names == NAMES
    model.class_names = None
    model.save(tmp_path / "m.keras")
    assert keras.saving.load_model(tmp_path / "m.keras").class_names is None


def test_a_file_of_before_there_were_names(make_model):
    config = make_model(num_classes=3, class_names=NAMES).get_config()
    del config["class_names"]
    assert keras_ram.RAM.from_config(config).class_names is None


@pytest.mark.parametrize(
    "names,message",
    [
        (["cat", "dog"], "must hold 3 names, one for each class. Received: 2"),
        (["cat", "dog", "cat"], "different strings"),
        (["cat", "dog", ""], "none of them empty"),
        (["cat", "dog", "great\ntit"], "or of several lines"),
        ("cat", "must be a sequence of different strings.*class_names='cat'"),
        ({"cat", "dog", "tit"}, "must be a sequence"),
        (range(3), "different strings"),
        (7, "must be a sequence"),
    ],
)
def test_names_that_do_not_fit(names, message, make_model):
    model = make_model(num_classes=3, class_names=NAMES)
    with pytest.raises(ValueError, match=f"`class_names` .*{message}"):
        model.class_names = names
    assert model.class_names == NAMES
    with pytest.raises(ValueError, match=message):
        keras_ram.RAM(3, class_names=names)


def test_are_taken_from_the_folder(make_model):
    model = make_model(num_classes=3)
    model.compile(**FEW_STEPS)
    model.fit(Folder(NAMES), verbose=0)
    assert model.class_names == NAMES
    # The alphabet is not everybody's order.
    with pytest.warns(UserWarning, match="the model calls them"):
        model.fit(x=Folder(NAMES[::-1]), verbose=0)
    assert model.class_names == NAMES


def test_a_folder_of_other_classes(make_model):
    model = make_model()
    model.compile()
    with pytest.raises(ValueError, match="must hold 10 names.*Received: 3"):
        model.fit(Folder(NAMES), verbose=0)


@pytest.mark.parametrize("names", [NAMES, None])
def test_an_answer_tells_what_a_rollout_does(names, make_model, rng):
    images = rng.uniform(size=(20, 9, 13, 1)).astype("float32")
    model = make_model(num_classes=3, class_names=names)
    tops = ops.max(ops.softmax(model.rollout(images)["logits"]), axis=-1)
    model.stop_confidence = float(np.median(ops.convert_to_numpy(tops)[:, :2]))
    seen = {k: ops.convert_to_numpy(v) for k, v in model.rollout(images).items()}
    assert 1 < seen["num_glimpses"].mean() < 3
    answers = model.classify(images)
    assert len(answers) == 20
    for i, answer in enumerate(answers):
        expected = np.exp(seen["logits"][i, -1])
        expected /= expected.sum()
        assert list(answer["probabilities"]) == (names or [0, 1, 2])
        np.testing.assert_allclose(
            list(answer["probabilities"].values()), expected, atol=1e-5
        )
        best = expected.argmax()
        assert answer["class"] == (names[best] if names else best)
        assert answer["probability"] == answer["probabilities"][answer["class"]]
        assert type(answer["probability"]) is float
        np.testing.assert_allclose(
            answer["locations"],
            seen["locations"][i, : seen["num_glimpses"][i]],
            atol=1e-5,
        )


def test_a_first_answer_makes_a_model_that_is_kept(tmp_path):
    """Its weights were made, and it was not built: its file could not be loaded."""
    model = keras_ram.RAM(num_classes=3, num_glimpses=2, seed=1)
    answers = model.classify(IMAGES)
    assert model.built
    model.save(tmp_path / "m.keras")
    same = keras.saving.load_model(tmp_path / "m.keras").classify(IMAGES)
    for answer, other in zip(answers, same, strict=True):
        np.testing.assert_allclose(
            [*answer["probabilities"].values()],
            [*other["probabilities"].values()],
            rtol=1e-5,
        )
    with pytest.raises(ValueError, match="channel"):
        model.classify(np.zeros((1, 8, 8, 3)))


@pytest.mark.parametrize("multi_label", [False, True])
def test_no_images_have_no_answers(multi_label, make_model):
    model = make_model(num_classes=3, multi_label=multi_label)
    assert model.classify(np.zeros((0, 8, 8, 1))) == []


def test_answers_are_given_to_images_alone(make_model):
    with pytest.raises(ValueError, match="and a batch axis"):
        make_model().classify(IMAGES[0])
    with pytest.raises(ValueError, match="Divide floats up to 255 by 255"):
        make_model().classify(255 * IMAGES)


def test_pictures_show_them(make_model):
    model = make_model(num_classes=3, class_names=NAMES)
    figure = keras_ram.plot_glimpses(model, IMAGES, labels=[2] * 5)
    titles = [axis.get_title() for axis in figure.axes]
    guess = model.classify(IMAGES[:1])[0]["class"]
    assert titles[0] == "image of great tit"
    assert titles[3].startswith(f"3: {guess} (")
    others = keras_ram.plot_glimpses(model, IMAGES, [2] * 5, class_names=list("abc"))
    assert others.axes[0].get_title() == "image of c"
