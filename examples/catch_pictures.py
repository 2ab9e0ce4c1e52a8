"""Pictures of Catch: a film of games with the glimpses on them, and learning curves."""

import catch_game
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

COLOURS = ("tab:red", "tab:orange", "gold")  # of the patches, the finest first


def animate(agent, rules, path, games=6, seed=0):
    """Draws games, with a box for what each patch of the retina sees of a frame."""
    vector = catch_game.CatchVector(games, rules)
    screens, places, rewards = agent.play(vector, seed=seed)
    size, scales = catch_game.SIZE, agent.player.glimpse_sensor.scales
    centres = (places + 1) / 2 * size - 0.5  # of pixels
    figure = Figure((6.4, 5), 75, layout="constrained")
    axes = list(figure.subplots(2, games // 2).flat)
    pictures, boxes = [], []
    for axis in axes:
        pictures.append(axis.imshow(np.zeros((size, size)), "gray", vmin=0, vmax=1))
        axis.set(xticks=[], yticks=[], xlim=(-1.5, size + 0.5), ylim=(size + 0.5, -1.5))
        axis.set_facecolor("0.4")  # what is not on the screen
        boxes.append(
            [
                axis.add_patch(
                    Rectangle((0, 0), 6 * scale, 6 * scale, fill=False, ec=colour)
                )
                for scale, colour in zip(scales, COLOURS, strict=True)
            ]
        )
    names = [f"6x6 cells of {scale:g}x{scale:g}" for scale in scales]
    figure.legend(boxes[0], names, loc="outside lower center", ncols=3, fontsize=8)

    def draw(frame):
        frame = min(frame, catch_game.FRAMES)
        for game, axis in enumerate(axes):
            pictures[game].set_data(screens[game, frame, ..., 0])
            for box in boxes[game]:
                box.set_xy(centres[game, frame] - box.get_width() / 2)
                box.set_visible(frame < catch_game.FRAMES)
            over = frame == catch_game.FRAMES
            end = ("missed", "caught")[int(rewards[game])]
            title = end if over else f"frame {frame + 1}"
            axis.set_title(title, fontsize=9)

    animation = FuncAnimation(figure, draw, catch_game.FRAMES + 6)
    animation.save(path, PillowWriter(fps=6))


def draw_curves(results, path):
    """Draws what was caught in each epoch's games, by rules and seed."""
    figure = Figure((6, 3.2), 100, layout="constrained")
    axis = figure.subplots()
    for result in results:
        settings, caught = result["settings"], result["curve"]["val_caught"]
        rules, seed = settings["rules"], settings["seed"]
        frames = result["frames"] / 1e6 * np.arange(1, len(caught) + 1) / len(caught)
        colour = {"A": "tab:blue", "B": "tab:orange"}[rules]
        style = ("-", "--", ":", "-.")[seed % 4]
        label = f"rules {rules}, seed {seed}"
        axis.plot(frames, np.array(caught) * 100, style, color=colour, label=label)
    axis.axhline(85, color="gray", linewidth=1)
    place = {"xycoords": ("axes fraction", "data"), "color": "gray", "fontsize": 8}
    axis.annotate("the paper, after 20 million", (0.66, 76), **place)
    axis.set(xlabel="million frames", ylabel="caught, greedy (%)", ylim=(0, 100))
    axis.legend(fontsize=8)
    figure.savefig(path)
