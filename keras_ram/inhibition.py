"""Inhibition of return: what was seen does not attract the gaze once more."""

from keras import ops

from keras_ram.grids import cell_sides


def check_coarser(sensor):
    """Raises `ValueError` unless a sensor has patches from which one can erase."""
    scales, shares = sensor.scales, sensor.shares
    if not scales or not (shares or min(scales) < max(scales)):
        raise ValueError(
            "`inhibition_of_return` erases what the finest of `scales` has seen from "
            "patches that are coarser, or of `shares`, and there are none. "
            f"Received: scales={scales}, shares={shares}"
        )


def unseen(sensor, size, locations, earlier):
    """How much of each cell no earlier glimpse has seen in its finest patch.

    A cell counts as seen as far as it lies under earlier finest patches, and one that
    is larger than they are as soon as it holds one. Where they overlap, they add up.
    The cells of the finest patch itself are always there to be seen.

    Args:
        sensor: A `GlimpseSensor`.
        size: Height and width of the images, float32. See `GlimpseSensor.size`.
        locations: The centres of glimpses, `(batch, 2)`.
        earlier: Those of the ones before, `(batch, n, 2)`.

    Returns:
        Float32 tensor of shape `(batch, k, patch_size, patch_size)`, from 0 to 1.
    """
    number, finest = sensor.patch_size, min(sensor.scales)
    side = finest * number
    cells = cell_sides(sensor.scales, sensor.shares, number, size)  # (..., k, 2)
    steps = ops.arange(number + 1, dtype="float32") - number / 2
    lines = ops.expand_dims(cells, -1) * steps
    lines = ops.reshape(lines, (-1, 1, *lines.shape[-3:]))  # (1 or B, 1, k, 2, w + 1)
    # In pixels from the centre, as the lines are.
    ways = ops.flip(earlier - ops.expand_dims(locations, 1), axis=2) / 2 * size
    ways = ops.reshape(ways, (-1, earlier.shape[1], 1, 2, 1))  # (B, n, 1, 2, 1)
    begin = ops.maximum(lines[..., :-1], ways - side / 2)
    end = ops.minimum(lines[..., 1:], ways + side / 2)
    under = ops.relu(end - begin)  # (B, n, k, 2, w)
    under = ops.einsum("bnkh,bnkw->bkhw", under[:, :, :, 0], under[:, :, :, 1])
    whole = ops.minimum(ops.prod(cells, axis=-1), side**2)  # (..., k)
    left = ops.relu(1 - under / ops.reshape(whole, (-1, whole.shape[-1], 1, 1)))
    fine = [scale == finest for scale in sensor.scales] + [False] * len(sensor.shares)
    return ops.where(ops.convert_to_tensor(fine)[:, None, None], 1.0, left)
