"""The models of the rows of the paper's tables."""

import keras

import keras_ram

# Beyond the paper's networks.
FOUND = {
    "core": "lstm",
    "core_units": 192,
    "location_units": 128,
    "location_step": 1 / 32,
}


class RandomGlimpses(keras_ram.LocationSampler):
    """Looks anywhere, in training and at inference."""

    def first(self, batch_size, training=False):
        return super().first(batch_size, training=True)

    def call(self, hidden_states, training=False, noise=None):
        look = super().call(hidden_states, training=training, noise=noise)
        return {**look, "location": self.first(keras.ops.shape(hidden_states)[0])}


def cnn():
    """The paper's convolutional network."""
    return keras.Sequential(
        [
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 10, strides=5, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


def dense():
    """The paper's two dense layers."""
    return keras.Sequential(
        [
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


SEE_ALL = {"cnn": cnn, "dense": dense}  # without attention


def make(task, options):
    """The model of a row, built."""
    if options.row in SEE_ALL:
        model = SEE_ALL[options.row]()
    else:
        found = {**FOUND, "filters": tuple(options.filters)}
        model = keras_ram.RAM(
            10,
            options.glimpses,
            task["patch_size"],
            task["scales"],
            seed=options.seed,
            **({} if options.row == "plain" else found),
        )
        if options.row == "random":
            model.location_sampler = RandomGlimpses(seed=options.seed)
    model.build((None, task["size"], task["size"], 1))
    return model
