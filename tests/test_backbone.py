"""Any Keras model looks at the patches."""

import keras
import numpy as np
import pytest
from backends import BACKEND
from keras import layers, ops

import keras_ram

LABELS = np.arange(8) % 3


@pytest.fixture
def images(rng):
    return rng.uniform(size=(8, 20, 24, 3)).astype("float32")


@pytest.fixture
def backbone():
    return keras.Sequential(
        [
            layers.Conv2D(4, 3, strides=2, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.GlobalAveragePooling2D(),
        ]
    )


def weights_of(layer):
    return [np.array(ops.convert_to_numpy(weight)) for weight in layer.weights]


def changed(layer, before):
    """Whether each weight has changed, but for states of generators."""
    return [
        not np.array_equal(now, then)
        for weight, now, then in zip(
            layer.weights, weights_of(layer), before, strict=True
        )
        if "seed" not in weight.path
    ]


# On JAX, nothing may change its state within the loop that long rollouts would be.
@pytest.mark.parametrize("learning,glimpses", [("joint", 3), ("reinforce", 13)])
def test_is_trained_frozen_and_kept(
    learning, glimpses, backbone, images, make_model, tmp_path
):
    options = {"num_classes": 3, "num_glimpses": glimpses, "scales": (1, 2.5)}
    model = make_model(3, **options, backbone=backbone)
    before = weights_of(backbone)
    rule = {"optimizer": keras.optimizers.Adam(0.01), "learning": learning}
    model.compile(**rule, run_eagerly=True)
    model.fit(images, LABELS, verbose=0)
    assert all(changed(backbone, before))

    backbone.trainable = False
    model.compile(**{**rule, "optimizer": "adam"}, run_eagerly=True)
    before = weights_of(backbone)
    model.fit(images, LABELS, verbose=0)
    assert not any(changed(backbone, before))
    model.save(tmp_path / "m.keras")
    restored = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(
        *(ops.convert_to_numpy(some(images)) for some in (model, restored))
    )
    twin = restored.glimpse_net.backbone
    restored.fit(images, LABELS, verbose=0)
    assert not any(changed(twin, before))
    assert any(changed(model.classifier, weights_of(restored.classifier)))


def two_models(names):
    """Two models look at a patch, each with a convolution of that name."""
    patch = keras.Input((8, 8, 3))
    parts = []
    for name in names:
        part = keras.Input((8, 8, 3))
        features = layers.Conv2D(2, 3, strides=2, name=name)(part)
        parts.append(keras.Model(part, layers.GlobalAveragePooling2D()(features)))
    return keras.Model(patch, layers.Concatenate()([part(patch) for part in parts]))


@pytest.mark.parametrize("pointing", [False, True])
def test_two_layers_of_one_name_learn_as_of_two(pointing, images, make_model):
    learned = []
    for names in (("one", "one"), ("one", "other")):
        keras.utils.set_random_seed(0)
        backbone = two_models(names)
        parts = {"patch_size": 8, "backbone": backbone}
        model = make_model(3, num_classes=3, **parts)
        model.compile("sgd")
        learner = keras_ram.Pointing(model) if pointing else model
        learner.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
        before = weights_of(backbone)
        y = {"places": np.zeros((8, 2)), "classes": LABELS} if pointing else LABELS
        learner.fit(images, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        assert all(changed(backbone, before))
        learned.append(weights_of(model))
    for weight, other in zip(*learned, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-4, atol=1e-6)


def test_of_keras_applications(images, make_model):
    network = keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
    )
    scaled = keras.Sequential([layers.Rescaling(2, offset=-1), network])
    model = make_model(3, num_classes=3, patch_size=32, scales=(1, 2), backbone=scaled)
    network.trainable = False
    assert model(images).shape == (8, 3)
    assert len(model.glimpse_net.trainable_weights) == 6  # what, where, merge
    assert model.glimpse_net.what.kernel.shape == (2 * 1280, 16)


def test_a_new_classifier_on_the_same_backbone(backbone, make_model, tmp_path):
    model = make_model(3, num_classes=3, backbone=backbone)
    model.save(tmp_path / "m.keras")
    other = type(model).from_preset(str(tmp_path / "m.keras"), num_classes=5)
    assert not any(changed(other.glimpse_net, weights_of(model.glimpse_net)))
    assert other.num_classes == 5


def test_a_new_classifier_on_what_normalizes(images, make_model, tmp_path):
    """Its mean and deviation are made of its weights, and are no weights."""
    scaled = layers.Normalization()
    scaled.adapt(images)
    backbone = keras.Sequential([keras.Input((4, 4, 3)), scaled, layers.Flatten()])
    model = make_model(3, num_classes=3, backbone=backbone)
    model.save(tmp_path / "m.keras")
    other = type(model).from_preset(str(tmp_path / "m.keras"), num_classes=5)
    np.testing.assert_allclose(
        *(ops.convert_to_numpy(m.rollout(images)["locations"]) for m in (model, other)),
        atol=1e-6,
    )


@keras.saving.register_keras_serializable("test_backbone")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.normalize = layers.BatchNormalization()
        self.mean = layers.GlobalAveragePooling2D()

    def call(self, images, training=False):
        return self.mean(self.normalize(images, training=training))


def test_a_subclassed_one_stays_frozen(images, make_model, tmp_path):
    """Its file tells of its weights alone, and not of the layers in it."""
    backbone = Subclassed()
    backbone.trainable = False
    make_model(3, num_classes=3, backbone=backbone).save(tmp_path / "m.keras")
    model = keras.saving.load_model(tmp_path / "m.keras")
    before = weights_of(model.glimpse_net.backbone)
    model.compile(run_eagerly=True)
    model.fit(images, LABELS, verbose=0)
    assert len(before) == 4
    assert not any(changed(model.glimpse_net.backbone, before))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="artifacts are of TensorFlow")
@pytest.mark.slow
def test_artifacts(backbone, images, make_model, tmp_path):
    import onnxruntime
    import tensorflow as tf
    from keras_ram.export import export_onnx, export_saved_model

    model = make_model(3, num_classes=3, scales=(1, 2.5), backbone=backbone)
    expected = ops.convert_to_numpy(model(images))
    export_saved_model(model, tmp_path / "m")
    serve = tf.saved_model.load(tmp_path / "m/1").signatures["serving_default"]
    logits = serve(images=tf.constant(images))["logits"]
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    export_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (logits,) = session.run(["logits"], {"images": images})
    np.testing.assert_allclose(logits, expected, atol=1e-4)
