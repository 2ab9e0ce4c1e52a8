"""Writes a film of a pretrained classifier that looks at test digits on canvases.

python examples/look.py --data-dir FOLDER   # with MNIST's idx files

It is the first picture of the README, `examples/look.gif`.
"""

import argparse
from pathlib import Path

import keras_ram
from keras_ram import datasets


def main(arguments=None):
    """Writes the film, and prints its size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="ram_cluttered_mnist_100")
    parser.add_argument("--canvas-size", type=int, default=100)
    parser.add_argument("--pieces", type=int, default=8)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--data-dir", type=Path, help="folder of MNIST's idx files")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "look.gif"
    )
    options = parser.parse_args(arguments)
    model = keras_ram.RAM.from_preset(options.preset)
    model.stop_confidence = None  # it is usually sure after two glimpses
    images, labels = datasets.load_mnist(options.data_dir)[2]
    canvases = datasets.clutter(images, options.canvas_size, options.pieces, seed=5)
    first = slice(options.images)
    film = keras_ram.animate_glimpses(model, canvases[first], labels[first])
    film.save(
        options.output, writer="pillow" if options.output.suffix == ".gif" else None
    )
    print(f"{options.output}  {options.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
