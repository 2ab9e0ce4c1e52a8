"""Draws road signs into photos: what `road_signs.py` learns from besides photos.

The signs are those of the Road Sign Detection dataset. What they look like is known,
and so they can be drawn: turned, tilted, faded and blurred, at any place of a photo.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

SIDE = 256  # of a drawing, in pixels
SIZES = 24, 240  # of a sign in a photo, in pixels
LIMITS = 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120
WALKER = (  # from hand to hand, and from foot to foot
    [(96, 150), (112, 118), (138, 112), (160, 146)],
    [(92, 206), (118, 168), (134, 112)],
    [(118, 168), (146, 178), (160, 208)],
)


def shade(rng, *colour, by=30):
    """A colour that is about the given one."""
    return tuple(int(c) for c in np.clip(colour + rng.normal(0, by / 2, 3), 0, 255))


def write(drawing, text, size, colour):
    """Writes into the middle of a drawing."""
    font = ImageFont.load_default(size)
    width = max(1, size // 28)  # which makes it bold
    options = {"font": font, "anchor": "mm", "stroke_width": width}
    drawing.text((SIDE / 2, SIDE / 2), text, colour, stroke_fill=colour, **options)


def crosswalk(drawing, rng):
    """A walker in a triangle, on a blue square that may have a frame."""
    if rng.random() < 0.5:
        frame = (
            shade(rng, 190, 220, 40) if rng.random() < 0.7 else shade(rng, *[230] * 3)
        )
        drawing.rectangle((4, 4, 252, 252), frame)
    edge = rng.integers(22, 36)
    drawing.rounded_rectangle(
        (edge, edge, SIDE - edge, SIDE - edge), 8, shade(rng, 30, 80, 190, by=50)
    )
    triangle = [(128, edge + 12), (SIDE - edge - 10, 218), (edge + 10, 218)]
    drawing.polygon(triangle, shade(rng, 235, 235, 235))
    drawing.ellipse((120, 78, 142, 100), "black")
    for line in WALKER:
        drawing.line(line, "black", 12, "curve")


def speedlimit(drawing, rng):
    """A number in a red ring."""
    drawing.ellipse((6, 6, 250, 250), shade(rng, 235, 235, 235))
    edge = rng.integers(6, 14)
    ring = (edge, edge, SIDE - edge, SIDE - edge)
    colour = shade(rng, 195, 30, 40, by=50)
    drawing.ellipse(ring, None, colour, rng.integers(22, 38))
    text = str(rng.choice(LIMITS))
    write(drawing, text, [0, 150, 130, 92][len(text)], shade(rng, 25, 25, 30))


def stop(drawing, rng):
    """A red octagon with its word."""
    colours = shade(rng, 235, 235, 235), shade(rng, 190, 25, 35, by=50)
    for radius, colour in zip((126, 116), colours, strict=True):
        drawing.regular_polygon((128, 128, radius), 8, 22.5, colour)
    write(drawing, "STOP", rng.integers(68, 82), colours[0])


def trafficlight(drawing, rng):
    """Three lamps in a dark or yellow box, of which one or none is lit."""
    box = shade(rng, *([(25, 28, 30), (60, 60, 60), (190, 140, 30)][rng.integers(3)]))
    drawing.rounded_rectangle((74, 4, 182, 252), rng.integers(4, 40), box)
    lit = rng.choice(4, p=[0.4, 0.1, 0.3, 0.2])
    colours = (235, 45, 45), (245, 180, 40), (40, 225, 165)
    for index, colour in enumerate(colours):
        y = 16 + 78 * index
        share = 1 if index == lit else rng.uniform(0.12, 0.4)
        lamp = shade(rng, *(share * np.array(colour)), by=50 * share)
        drawing.ellipse((94, y, 162, y + 68), lamp)
        if index == lit:
            drawing.ellipse((112, y + 18, 144, y + 50), shade(rng, 255, 240, 220))
        drawing.arc((90, y - 4, 166, y + 72), 180, 360, shade(rng, 15, 15, 15), 8)


DRAWN = {draw.__name__: draw for draw in (crosswalk, speedlimit, stop, trafficlight)}


def sign(name, side, rng):
    """A sign as a camera may see it: an image with transparency around the sign."""
    picture = Image.new("RGBA", (SIDE, SIDE))
    DRAWN[name](ImageDraw.Draw(picture), rng)
    picture = picture.resize((side, side), Image.Resampling.BOX)
    corners = np.array([(0, 0), (0, side), (side, side), (side, 0)])
    corners = corners + rng.uniform(-1, 1, (4, 2)) * 0.14 * side
    picture = picture.transform(
        picture.size, Image.Transform.QUAD, corners.ravel().tolist(), Image.BILINEAR
    ).rotate(rng.normal(0, 6), Image.BILINEAR)
    cover, colours = picture.getchannel("A"), picture.convert("RGB")
    for enhance, low, high in (
        (ImageEnhance.Color, 0.5, 1.2),
        (ImageEnhance.Brightness, 0.3, 1.1),
    ):
        colours = enhance(colours).enhance(rng.uniform(low, high))
    haze = Image.new("RGB", picture.size, shade(rng, 140, 150, 160, by=80))
    colours = Image.blend(colours, haze, rng.beta(1, 4))
    blur = ImageFilter.GaussianBlur(rng.exponential(0.6))
    colours, cover = (layer.filter(blur) for layer in (colours, cover))
    colours.putalpha(cover)
    return colours


def put(photo, name, rng):
    """Puts a sign of a class on a pole, at some place of a photo.

    Returns:
        The photo, and the middle of the sign, `(x, y)`, in pixels.
    """
    photo = photo.convert("RGB")
    side = round(np.exp(rng.uniform(*np.log(SIZES))))
    picture = sign(name, side, rng)
    x, y = (
        int(rng.uniform(-side / 8, max(1, length - 7 * side / 8)))
        for length in photo.size
    )
    if rng.random() < 0.7:
        pole, middle = max(2, side // rng.integers(10, 25)), x + side // 2
        ImageDraw.Draw(photo).rectangle(
            (middle - pole / 2, y + side / 2, middle + pole / 2, photo.height),
            shade(rng, *[rng.uniform(40, 180)] * 3, by=10),
        )
    photo.paste(picture, (x, y), picture)
    return photo, (x + side / 2, y + side / 2)
