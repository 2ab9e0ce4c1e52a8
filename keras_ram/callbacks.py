"""What one sees while a model trains: whether it is learning to look."""

import io
import time
from pathlib import Path

import keras
import numpy as np

from keras_ram.diagnosis import look_at_all, vital_signs
from keras_ram.drawing import import_pyplot
from keras_ram.inputs import check_images, read
from keras_ram.sizes import number_of, rows_of
from keras_ram.targets import check_labels
from keras_ram.validation import check_integer
from keras_ram.visualization import plot_glimpses, plot_location_map


class GlimpseBoard(keras.callbacks.Callback):
    """Shows in TensorBoard whether a `keras_ram.RAM` learns to look.

    At the end of every epoch it writes the `vital_signs` of the policy as
    scalars, and every few epochs histograms of the locations of each glimpse
    and two pictures: some images with their glimpses, and a map of where the
    model looks in all of them (TensorBoard makes them small until one ticks
    "Show actual image size"). What the signs mean is in
    `examples/is_it_learning.md`. They join the logs, so `History`,
    `CSVLogger` and `EarlyStopping` see them as well, if they come after this
    callback. Nothing of it changes how the model trains.

    Args:
        log_dir: The folder of the logs; this callback writes to `glimpses` in
            it. Keras's own `TensorBoard` may write to the same.
        images: Array of shape `(n, height, width, channels)`: some hundred
            images for validation.
        labels: `None`, or ints of shape `(n,)`, or `(n, num_classes)` with
            `multi_label`. Without them there are no signs of reward and baseline.
        class_names: `None`, or a sequence of strings in place of the model's own.
        picture_every: Int, epochs from one picture to the next.
        pictures: Int, the number of images in a picture.

    Raises:
        ImportError: If TensorBoard or Matplotlib is not installed.
        ValueError: If an argument is out of its range, or if images or labels
            do not fit the model.

    Example:

    >>> import tempfile
    >>> images, labels = np.zeros((32, 28, 28, 1)), np.zeros(32)
    >>> model = keras_ram.RAM(num_classes=10, num_glimpses=3)
    >>> model.compile()
    >>> board = keras_ram.callbacks.GlimpseBoard(tempfile.mkdtemp(), images, labels)
    >>> history = model.fit(images, labels, callbacks=[board], verbose=0)
    >>> "spread_over_images" in history.history
    True
    """

    def __init__(
        self,
        log_dir,
        images,
        labels=None,
        class_names=None,
        picture_every=5,
        pictures=4,
    ):
        super().__init__()
        images = read(images)
        check_images(images)
        self.log_dir = Path(log_dir) / "glimpses"
        self.images, self.labels = images, labels
        self.class_names = class_names
        self.picture_every = check_integer("picture_every", picture_every)
        self.pictures = check_integer("pictures", pictures)
        import_pyplot()
        _import_writer()  # early

    def on_train_begin(self, logs=None):
        if self.labels is not None:
            check_labels(
                self.labels,
                number_of(self.images),
                self.model.num_classes,
                multi_label=self.model.multi_label,
            )
        self.writer = _import_writer()(str(self.log_dir))

    def on_epoch_end(self, epoch, logs=None):
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        signs = vital_signs(self.model, self.images, self.labels)
        for name, value in signs.items():
            self._write(epoch, scalar_pb(f"glimpses/{name}", value))
        if epoch % self.picture_every == 0:
            self._write_histograms(epoch)
            self._write_pictures(epoch)
        self.writer.flush()
        if logs is not None:
            logs.update(signs)

    def on_train_end(self, logs=None):
        self.writer.close()

    def _write_histograms(self, epoch):
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb

        locations, taken = look_at_all(self.model, self.images)
        for step in range(locations.shape[1]):
            for axis, name in enumerate("xy"):
                values = locations[taken > step, step, axis]
                tag = f"locations/glimpse_{step + 1}_{name}"
                self._write(epoch, histogram_pb(tag, values))

    def _write_pictures(self, epoch):
        few = slice(self.pictures)
        labels = None if self.labels is None else np.asarray(self.labels)[few]
        figures = {
            "look": plot_glimpses(
                self.model, rows_of(self.images, few), labels, self.class_names
            ),
            "map": plot_location_map(self.model, self.images),
        }
        for name, figure in figures.items():
            self._write(epoch, _picture(f"glimpses/{name}", figure))

    def _write(self, epoch, summary):
        from tensorboard.compat.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), step=epoch, summary=summary)
        self.writer.add_event(event)


def _picture(tag, figure):
    """A figure as TensorBoard holds it; the figure is closed."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    import_pyplot().close(figure)
    width, height = (int(100 * inches) for inches in figure.get_size_inches())
    image = Summary.Image(
        encoded_image_string=file.getvalue(), width=width, height=height, colorspace=4
    )
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def _import_writer():
    """The writer of TensorBoard, which needs no TensorFlow."""
    try:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise ImportError(
            "The logs are for TensorBoard. Install it with `pip install tensorboard`."
        ) from error
    return EventFileWriter
