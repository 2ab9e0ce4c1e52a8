"""The frames of `keras_ram.animate_glimpses`."""

from matplotlib import pyplot
from matplotlib.animation import FuncAnimation

from keras_ram.drawing import SHADES, draw_path, side_by_side


class Animation(FuncAnimation):
    """Glimpses in motion; a notebook shows them.

    Args:
        figure: Of Matplotlib, empty.
        look: A `keras_ram.drawing.Look`.
        rows, columns: Ints. Each image has a cell of this grid.
        seconds: Float, how long a glimpse is shown.
    """

    def __init__(self, figure, look, rows, columns, seconds):
        self.figure, self.look = figure, look
        steps = max(look.taken)
        cells = figure.subfigures(rows, columns, squeeze=False).flat
        self.axes = [
            cell.subplots(2, 1, height_ratios=(4, 1))
            for cell, _ in zip(cells, look.images, strict=False)
        ]
        self.show(1)
        figure.canvas.draw()  # which places the axes, once for all frames
        figure.set_layout_engine("none")
        frames = [*range(1, steps + 1), steps, steps]
        super().__init__(
            figure, self.show, frames, init_func=lambda: [], interval=1000 * seconds
        )

    def show(self, steps):
        """Draws the first `steps` glimpses of every image."""
        look = self.look
        for image, (above, below) in enumerate(self.axes):
            for axis in (above, below):
                axis.clear()
                axis.set_axis_off()
            taken = min(steps, look.taken[image])
            above.imshow(look.images[image], **SHADES)
            draw_path(above, look, image, taken, inches=1.9, in_motion=True)
            text, colour = look.guess(image, taken - 1)
            above.set_title(text, fontsize=9, color=colour)
            below.imshow(side_by_side(look, image, taken - 1), **SHADES)
        return []

    def _repr_html_(self):
        html = self.to_jshtml()
        pyplot.close(self.figure)  # or the notebook would show it once more
        return html
