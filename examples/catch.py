"""Learns to play Catch through glimpses: section 4.2 of Mnih et al., 2014.

    python examples/catch.py --rules A              # train; stopped, it goes on
    python examples/catch.py --table                # all results so far, and curves
    KERAS_BACKEND=jax python examples/catch.py ...  # compiles faster than TensorFlow

A run writes into `results/catch-RULES-sSEED/`: `result.json` (settings, curve, speed
and the share caught), the agent as `agent.keras`, and `games.gif`. After every epoch it
plays 2,000 games of its own for the curve; the result comes from 10,000 others.
"""

import argparse
import json
import time
from pathlib import Path

import catch_agent
import catch_game
import catch_pictures
import keras
import numpy as np
from runs import back_up, begin_run, end_run, falling_adam, read_curves

GAMES = 10_000  # of the result
CURVE_GAMES = 2000
EXPLORED = 0.25  # what is left of the exploration in the end
NOT_SETTINGS = ("jit", "output", "table", "verbose")


class Games(keras.utils.PyDataset):
    """How games begin, in batches: new ones in each epoch, the same for one seed.

    Args:
        rules: `"A"` or `"B"`.
        games: Int, games in a batch.
        batches: Int, batches in an epoch.
        seed: Int.

    `epoch`, and `turning`, the share of games that are chosen for a ball that changes
    its column with the last step, are to be set when an epoch begins.
    """

    def __init__(self, rules, games, batches, seed):
        super().__init__()
        self.rules, self.games, self.batches, self.seed = rules, games, batches, seed
        self.epoch, self.turning = 0, 0.0

    def __len__(self):
        return self.batches

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, self.epoch, index])
        games = catch_game.begin(self.rules, rng, self.games)
        if number := int(self.turning * self.games):
            many = catch_game.begin(self.rules, rng, 12 * self.games)
            chosen = many[catch_game.turns_in_the_end(self.rules, many)][:number]
            games[: len(chosen)] = chosen
        return (games,)


class Epochs(keras.callbacks.Callback):
    """Begins each epoch: with new games, and less exploration than the one before.

    Args:
        games: `Games`.
        turning: Float, their share of turning balls at first, which falls to none.
    """

    def __init__(self, games, turning):
        super().__init__()
        self.games, self.turning = games, turning

    def on_epoch_begin(self, epoch, logs=None):
        done = epoch / self.params["epochs"]
        self.games.epoch, self.games.turning = epoch, (1 - done) * self.turning
        self.model.explore(1 - (1 - EXPLORED) * done)
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
        learning=options.learning,
        seed=options.seed,
    )
    agent.build((None, 3))
    batches = options.epoch_frames // (options.games * catch_game.FRAMES)
    steps = options.epochs * batches
    agent.compile(
        falling_adam(options.learning_rate, steps, alpha=0.02, clipnorm=0.5),
        jit_compile=options.jit,
    )
    games = Games(options.rules, options.games, batches, options.seed)
    rng = np.random.default_rng([options.seed, 1])  # no training, no final game
    agent.fit(
        games,
        epochs=options.epochs,
        shuffle=False,
        validation_data=(catch_game.begin(options.rules, rng, CURVE_GAMES),),
        validation_batch_size=CURVE_GAMES,
        verbose=options.verbose,
        callbacks=[
            Epochs(games, options.turning),
            keras.callbacks.CSVLogger(folder / "curve.csv", append=True),
            # Last: a run goes on after epochs that were logged.
            back_up(folder / "backup", delete_checkpoint=False),
        ],
    )
    agent.save(folder / "agent.keras")
    final = catch_game.CatchVector(GAMES, options.rules)
    *_, rewards = agent.play(final, seed=1000 + options.seed)
    curve = read_curves(folder / "curve.csv")
    frames = options.epochs * batches * options.games * catch_game.FRAMES
    result = {
        "settings": settings,
        "frames": frames,
        "seconds": sum(curve["seconds"]),  # evaluation of each epoch included
        "frames_per_second": frames / sum(curve["seconds"]),
        "caught": float(np.mean(rewards)),
        "curve": curve,
    }
    catch_pictures.animate(agent, options.rules, folder / "games.gif")
    end_run(folder, result)
    print(f"{result['caught']:.2%} of {GAMES} games caught")


def print_table(output):
    """The share caught by rules and seed, beside the paper's, and `curves.png`."""
    files = sorted(output.glob("catch-*/result.json"))
    results = [json.loads(file.read_text()) for file in files]
    print(
        f"{'rules':>5} {'seed':>4} {'frames':>7} {'caught':>7} {'minutes':>7} frames/s"
    )
    print(f"{'paper':>5} {'':>4} {'20.0M':>7} {'85%':>7}")
    for result in results:
        rules, seed = result["settings"]["rules"], result["settings"]["seed"]
        print(
            f"{rules:>5} {seed:>4} {result['frames'] / 1e6:>6.1f}M "
            f"{result['caught']:>7.2%} {result['seconds'] / 60:>7.1f} "
            f"{result['frames_per_second']:>8.0f}"
        )
    catch_pictures.draw_curves(results, output / "curves.png")


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
    parser.add_argument("--games", type=int, default=128, help="in a batch")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--units", type=int, default=64, help="of the core")
    parser.add_argument("--stddev", type=float, default=0.2, help="of the policy")
    parser.add_argument("--entropy-weight", type=float, default=0.01)
    parser.add_argument(
        "--learning",
        choices=("expected", "reinforce"),
        default="expected",
        help="how actions learn: see `Agent`",
    )
    parser.add_argument(
        "--turning",
        type=float,
        default=0.0,
        help="share of games, at first, whose last step changes the ball's column",
    )
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
