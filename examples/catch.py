"""Learns to play Catch through glimpses: section 4.2 of Mnih et al., 2014.

    python examples/catch.py --rules A              # train; stopped, it goes on
    python examples/catch.py --table                # all results so far
    KERAS_BACKEND=jax python examples/catch.py ...  # compiles faster than TensorFlow

A run writes into `results/catch-RULES-sSEED/`: `result.json` (settings, curve, speed
and the share caught), the agent as `agent.keras`, and `games.gif`. After every epoch it
plays 10,000 games of its own for the curve; the result comes from 10,000 others.
"""

import argparse
import json
import time
from pathlib import Path

import catch_agent
import catch_game
import keras
import numpy as np
from runs import begin_run, end_run

GAMES = 10_000  # of an evaluation
COLOURS = ("tab:red", "tab:orange", "gold")
NOT_SETTINGS = ("jit", "output", "table", "verbose")


class Epochs(keras.callbacks.Callback):
    """Tells the games which epoch begins, and the logs how long it took."""

    def __init__(self, games):
        super().__init__()
        self.games = games

    def on_epoch_begin(self, epoch, logs=None):
        self.games.epoch = epoch
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = time.perf_counter() - self.start


def train(options):
    """Trains an agent, lets it play, and writes what came of it."""
    folder = options.output / f"catch-{options.rules}-s{options.seed}"
    settings = begin_run(folder, options, NOT_SETTINGS)
    keras.utils.set_random_seed(options.seed)
    agent = catch_agent.Agent(
        options.rules,
        units=options.units,
        stddev=options.stddev,
        entropy_weight=options.entropy_weight,
        seed=options.seed,
    )
    agent.build((None, 3))
    batches = options.epoch_frames // (options.games * catch_game.FRAMES)
    schedule = keras.optimizers.schedules.CosineDecay(
        options.learning_rate, options.epochs * batches, alpha=0.02
    )
    agent.compile(keras.optimizers.Adam(schedule), jit_compile=options.jit)
    games = catch_agent.Games(options.rules, options.games, batches, options.seed)
    rng = np.random.default_rng([options.seed, 1])  # no training, no final game
    agent.fit(
        games,
        epochs=options.epochs,
        shuffle=False,
        validation_data=(catch_game.begin(options.rules, rng, GAMES),),
        validation_batch_size=2000,
        verbose=options.verbose,
        callbacks=[
            Epochs(games),
            keras.callbacks.CSVLogger(folder / "curve.csv", append=True),
            # Last: a run goes on after epochs that were logged.
            keras.callbacks.BackupAndRestore(
                folder / "backup", double_checkpoint=True, delete_checkpoint=False
            ),
        ],
    )
    agent.save(folder / "agent.keras")
    final = catch_game.CatchVector(GAMES, options.rules)
    *_, rewards = agent.play(final, seed=1000 + options.seed)
    curve = read_curve(folder)
    frames = options.epochs * batches * options.games * catch_game.FRAMES
    result = {
        "settings": settings,
        "versions": {"keras": keras.__version__, "backend": keras.backend.backend()},
        "frames": frames,
        "seconds": sum(curve["seconds"]),  # evaluation of each epoch included
        "frames_per_second": frames / sum(curve["seconds"]),
        "caught": float(np.mean(rewards)),
        "curve": curve,
    }
    animate(agent, options.rules, folder / "games.gif")
    end_run(folder, result)
    print(f"{result['caught']:.2%} of {GAMES} games caught")


def read_curve(folder):
    """The logs of each epoch, by name. One that was logged twice counts once."""
    table = np.atleast_1d(
        np.genfromtxt(folder / "curve.csv", delimiter=",", names=True)
    )
    last = {int(row["epoch"]): row for row in table}
    return {
        name: [float(row[name]) for _, row in sorted(last.items())]
        for name in table.dtype.names
    }


def animate(agent, rules, path, games=6, seed=0):
    """Draws games, with a box for what the retina sees of each frame."""
    from matplotlib.animation import FuncAnimation, PillowWriter
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    vector = catch_game.CatchVector(games, rules)
    screens, locations, rewards = agent.play(vector, seed=seed)
    size = catch_game.SIZE
    corners = (np.clip(locations, -1, 1) + 1) / 2 * size - 0.5  # of pixels
    figure = Figure((6, 4.2), 60, layout="constrained")
    axes = list(figure.subplots(2, games // 2).flat)
    pictures, boxes = [], []
    for axis in axes:
        pictures.append(axis.imshow(np.zeros((size, size)), "gray", vmin=0, vmax=1))
        axis.set(xticks=[], yticks=[], xlim=(-1.5, size + 0.5), ylim=(size + 0.5, -1.5))
        axis.set_facecolor("0.4")  # what is not on the screen
        sides = 6 * np.array(agent.player.glimpse_sensor.scales)
        boxes.append(
            [
                axis.add_patch(Rectangle((0, 0), side, side, fill=False, ec=colour))
                for side, colour in zip(sides, COLOURS, strict=True)
            ]
        )

    def draw(frame):
        frame = min(frame, catch_game.FRAMES)
        for game, axis in enumerate(axes):
            pictures[game].set_data(screens[game, frame, ..., 0])
            for box in boxes[game]:
                box.set_xy(corners[game, frame] - box.get_width() / 2)
                box.set_visible(frame < catch_game.FRAMES)
            over = frame == catch_game.FRAMES
            end = ("missed", "caught")[int(rewards[game])]
            title = end if over else f"frame {frame + 1}"
            axis.set_title(title, fontsize=9)

    animation = FuncAnimation(figure, draw, catch_game.FRAMES + 6)
    animation.save(path, PillowWriter(fps=6))


def print_table(output):
    """The share caught by rules and seed, beside the paper's."""
    print(
        f"{'rules':>5} {'seed':>4} {'frames':>7} {'caught':>7} {'minutes':>7} frames/s"
    )
    print(f"{'paper':>5} {'':>4} {'20.0M':>7} {'85%':>7}")
    for file in sorted(output.glob("catch-*/result.json")):
        result = json.loads(file.read_text())
        rules, seed = result["settings"]["rules"], result["settings"]["seed"]
        print(
            f"{rules:>5} {seed:>4} {result['frames'] / 1e6:>6.1f}M "
            f"{result['caught']:>7.2%} {result['seconds'] / 60:>7.1f} "
            f"{result['frames_per_second']:>8.0f}"
        )


def parse_arguments(arguments=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true", help="print the results")
    parser.add_argument("--rules", choices=catch_game.RULES, default="A")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=20, help="of a million frames")
    parser.add_argument("--epoch-frames", type=int, default=1_000_000)
    parser.add_argument("--games", type=int, default=512, help="in a batch")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--units", type=int, default=64, help="of the core")
    parser.add_argument("--stddev", type=float, default=0.1, help="of the policy")
    parser.add_argument("--entropy-weight", type=float, default=0.02)
    parser.add_argument(
        "--jit",
        action=argparse.BooleanOptionalAction,
        default=keras.backend.backend() != "torch",
        help="compile with XLA",
    )
    parser.add_argument("--output", type=Path, default=Path("results"))
    parser.add_argument("--verbose", type=int, default=1, help="as in `fit`")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options = parse_arguments()
    if options.table:
        print_table(options.output)
    else:
        train(options)
