"""By hand: what it costs to look beside a digit on a megapixel canvas."""

import numpy as np


def beside(ways):
    """For ways in pixels, to the digit that is next."""
    near = sum(1 - np.exp(-((ways / width) ** 2) / 2) for width in (4, 16, 48, 96))
    return near + 0.4 * ((1 + (ways / 4) ** 2) ** 0.25 - 1)
