"""Catch is the game that its page says, and its agent learns, stops and goes on."""

import json
from pathlib import Path

import gymnasium
import keras
import numpy as np
import pytest
from backends import BACKEND, JIT
from gymnasium.utils.env_checker import check_env
from keras import ops

pytestmark = pytest.mark.slow


@pytest.fixture
def catch(monkeypatch):
    """The example, with its parts, such as `catch_game` and `catch_agent`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    import catch

    return catch


@pytest.fixture
def game(catch):
    return catch.catch_game


@pytest.fixture
def small_screen(game, monkeypatch):
    """A screen of 4x4 pixels, on which a game is over after three frames."""
    monkeypatch.setattr(game, "SIZE", 4)
    monkeypatch.setattr(game, "FRAMES", 3)


@pytest.fixture
def make_agent(catch):
    def make(rules="A", **options):
        agent = catch.catch_agent.Agent(rules, **{"units": 16, "seed": 0, **options})
        agent.build((None, 3))
        return agent

    return make


@pytest.mark.parametrize("rules", ["A", "B"])
def test_gymnasium_accepts_the_game(rules, game):
    env = gymnasium.make("keras_ram/Catch-v0", rules=rules, render_mode="rgb_array")
    check_env(env.unwrapped)
    games = gymnasium.make_vec("keras_ram/Catch-v0", 3, rules=rules)
    screens, _ = games.reset(seed=0)
    assert screens in games.observation_space
    # Ball and paddle: three pixels of one screen, until they touch.
    np.testing.assert_array_equal(screens.sum(axis=(1, 2, 3)), 3)
    with pytest.raises(ValueError, match="`rules` must be one of.*rules='C'"):
        game.Catch(rules="C")


@pytest.mark.parametrize("rules", ["A", "B"])
def test_one_game_is_a_batch_of_one(rules, game):
    one, batch = game.Catch(rules, "rgb_array"), game.CatchVector(1, rules)
    screen, _ = one.reset(seed=5)
    screens, _ = batch.reset(seed=5)
    for step in range(2 * game.FRAMES):
        np.testing.assert_array_equal(screens[0], screen)
        np.testing.assert_array_equal(one.render()[..., :1], 255 * screen)
        screen, reward, end, truncated, _ = one.step(step % 3)
        screens, rewards, ends, _, _ = batch.step([step % 3])
        assert (rewards[0], ends[0], truncated) == (reward, end, False)


@pytest.mark.parametrize(
    ("rules", "ball", "speed", "columns"),
    [
        # Drawn at the edge while it is outside, where it turns round.
        ("A", 22.5, 0.75, [22.5, 23.25, 24.0, 23.25, 22.5]),
        ("A", 0.5, -0.75, [0.5, -0.25, 0.5, 1.25]),
        ("B", 22.5, 0.25, [22.5, 22.75, 23.0, 22.75]),
        ("B", 22.875, 0.25, [22.875, 23.0, 22.75]),
        ("B", 1.0, -0.25, [1.0, 2 / 3, 2 / 3 + 0.25]),
        ("B", 0.0, 0.25, [0.0, 0.25, 0.5]),
    ],
)
def test_ball_turns_round_at_the_sides(rules, ball, speed, columns, game):
    state = np.array([[ball, speed, 11]], "float32")
    for row, column in enumerate(columns):
        assert state[0, 0] == pytest.approx(column)
        screen = game.observation(np, state, row)[0, :, :, 0]
        assert np.argwhere(screen[:-1]).tolist() == [
            [row, min(max(int(column), 0), 23)]
        ]
        assert np.flatnonzero(screen[-1]).tolist() == [11, 12]
        state = game.transition(rules, np, state, np.array([1]))


def test_paddle_moves_and_stops_at_the_sides(game):
    state = np.array([[5, 0, 0], [5, 0, 0], [5, 0, 22], [5, 0, 22]], "float32")
    state = game.transition("A", np, state, np.array([0, 2, 2, 0]))
    assert state[:, 2].tolist() == [0, 1, 22, 21]


@pytest.mark.parametrize(
    ("rules", "ball", "paddles"),
    [
        ("A", 5.9, [4, 5]),  # drawn at 5
        ("A", 24.1, [22]),
        ("A", -0.5, [0]),
        ("B", 5.9, [5]),  # between 5 and 6
        ("B", 5.0, [4, 5]),
    ],
)
def test_caught(rules, ball, paddles, game):
    state = np.array([[ball, 0, paddle] for paddle in range(23)])
    assert np.flatnonzero(game.caught(rules, np, state)).tolist() == paddles


def test_reward_comes_with_the_end_and_new_games_after_it(game):
    games = game.CatchVector(2, "A")
    games.reset(seed=0)
    games.state = np.array([[7, 0, 7], [7, 0, 8]], "float32")
    for step in range(1, 24):
        _, rewards, ends, truncations, _ = games.step(np.array([1, 1]))
        assert rewards.tolist() == ([1, 0] if step == 23 else [0, 0])
        assert ends.tolist() == [step == 23] * 2
        assert not truncations.any()
    screens, rewards, ends, _, _ = games.step(np.array([0, 0]))
    assert not rewards.any() and not ends.any()
    assert screens[:, 0].sum() == 2  # the balls are at the top again


def full_sight(game, rules, policy, games=10_000):
    """The share caught by who sees the state: the ball's and the paddle's column."""
    vector, rng = game.CatchVector(games, rules), np.random.default_rng(1)
    vector.reset(seed=0)
    end = vector.state
    for _ in range(game.FRAMES):
        end = game.transition(rules, np, end, np.ones(games))
    lands = np.clip(np.floor(end[:, 0]), 0, 23)
    for _ in range(game.FRAMES):
        ball = np.clip(np.floor(vector.state[:, 0]), 0, 23)
        paddle = vector.state[:, 2]
        actions = {
            "random": rng.integers(3, size=games),
            # Until the ball is above one of its two pixels.
            "walk": 1 - (ball < paddle) + (ball > paddle + 1),
            "foresee": 1 + np.sign(lands - paddle).astype(int),
        }
        _, rewards, *_ = vector.step(actions[policy])
    return rewards.mean()


@pytest.mark.parametrize(
    ("rules", "policy", "share"),
    [
        ("A", "random", 0.084),
        ("B", "random", 0.043),
        ("A", "walk", 0.535),
        ("B", "walk", 0.408),
    ],
)
def test_yardsticks(rules, policy, share, game):
    # Four standard errors of 10,000 games are 0.02 at the most.
    assert full_sight(game, rules, policy) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("rules", ["A", "B"])
def test_every_ball_can_be_caught(rules, game):
    assert full_sight(game, rules, "foresee") == 1


@pytest.mark.parametrize("rules", ["A", "B"])
def test_rules_are_the_same_on_numpy_and_on_keras(rules, game, rng):
    state = game.begin(rules, rng, 50)
    tensors = ops.convert_to_tensor(state)
    for row in range(game.FRAMES):
        actions = rng.integers(3, size=50).astype("float32")
        screens = game.observation(ops, tensors, row)
        expected = game.observation(np, state, row)
        np.testing.assert_array_equal(ops.convert_to_numpy(screens), expected)
        state = game.transition(rules, np, state, actions)
        tensors = game.transition(rules, ops, tensors, ops.convert_to_tensor(actions))
    expected = game.caught(rules, np, state)
    caught = game.caught(rules, ops, tensors)
    np.testing.assert_array_equal(ops.convert_to_numpy(caught), expected)


def test_games_follow_their_seed(catch, game):
    def first(seed):
        return game.CatchVector(4, "A").reset(seed=seed)[0]

    np.testing.assert_array_equal(first(1), first(1))
    assert (first(1) != first(2)).any()
    games = catch.Games("A", 8, batches=2, seed=0)
    (first_batch,), (second_batch,) = games[0], games[1]
    assert first_batch.shape == (8, 3) and (first_batch != second_batch).any()
    np.testing.assert_array_equal(games[0][0], first_batch)
    games.epoch = 1
    assert (games[0][0] != first_batch).any()


def test_balls_that_turn_in_the_end(game):
    # The second is at 7.98 before the last step and at 8.02 after it.
    starts = [[7, 0, 11], [7, 1 / 22.5, 11], [7, 1 / 24, 11], [0, -1 / 3, 11]]
    states = np.array(starts, "float32")
    turning = game.turns_in_the_end("B", states)
    np.testing.assert_array_equal(turning[:3], [False, True, False])
    for row, state in zip(turning, states, strict=True):
        columns = []
        for _ in range(23):
            state = game.transition("B", np, state[None], 1)[0]
            columns.append(np.floor(state[0]))
        assert row == (columns[-1] != columns[-2])


def test_some_games_are_chosen_for_balls_that_turn(catch, game):
    games = catch.Games("B", 400, batches=1, seed=0)
    usual = game.turns_in_the_end("B", games[0][0]).mean()
    games.turning = 0.5
    chosen = game.turns_in_the_end("B", games[0][0])
    assert chosen[:200].all()
    assert chosen[200:].mean() == pytest.approx(usual, abs=0.06)
    assert usual == pytest.approx(1 / 6, abs=0.06)


def drawn_once(agent, count):
    """What is drawn for these games: the same from now on."""
    noise = agent.noise(count)
    agent.noise = lambda count: noise
    return ops.convert_to_numpy(noise)


@pytest.mark.parametrize("rules", ["A", "B"])
def test_agent_plays_gymnasiums_game_as_it_plays_in_training(rules, make_agent, game):
    agent, games = make_agent(rules), game.CatchVector(100, rules)
    screens, places, rewards = agent.play(games, seed=3)
    assert screens.shape == (100, 24, 24, 24, 1) and places.shape == (100, 24, 2)
    games.reset(seed=3)
    played = agent(ops.convert_to_tensor(games.state))
    np.testing.assert_array_equal(ops.convert_to_numpy(played["caught"]), rewards)
    following = ops.convert_to_numpy(played["locations"])
    # Half of the screen, and half of one of 24 pixels beside the middle.
    np.testing.assert_allclose(places[:, 1:], following / 2 + 1 / 24, atol=1e-5)
    np.testing.assert_allclose(places[:, 0], 1 / 24)


def test_cells_of_two_pixels_tell_the_column(make_agent, game):
    player, columns = make_agent().player, np.arange(7, 18)
    states = np.array([[column, 0, 0] for column in columns], "float32")
    screens = game.observation(np, states, 12).astype("float32")
    patches = player.glimpse_sensor(screens, player.places(ops.zeros((11, 2))))
    light = ops.convert_to_numpy(patches)[:, 1, :, :, 0].sum(axis=1)  # (11, 6)
    centres = np.arange(-5, 6, 2)  # of cells, in pixels from 12.5
    found = 12.5 + light @ centres / light.sum(axis=1)
    np.testing.assert_allclose(found, columns + 0.5, atol=1e-4)


def test_what_is_drawn_follows_the_policy(make_agent, game, rng):
    agent = make_agent(stddev=0.3)
    agent.player.policy.bias.assign([1.0, 0.0, -1.0])
    noise = drawn_once(agent, 2000)
    played = agent(ops.convert_to_tensor(game.begin("A", rng, 2000)), training=True)
    played = {name: ops.convert_to_numpy(value) for name, value in played.items()}
    np.testing.assert_allclose(noise.mean(axis=(0, 1))[:2], 0, atol=0.02)
    np.testing.assert_allclose(noise.std(axis=(0, 1))[:2], 1, atol=0.02)
    steps = 6 * played["locations"]  # of a pixel, which is a twelfth of half a screen
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
    drawn = np.clip(played["means"] + 0.3 * noise[..., :2], -1, 1)
    assert np.abs(played["locations"] - drawn).max() <= 1 / 12 + 1e-5
    weights = np.exp(played["logits"])
    expected = weights / weights.sum(axis=-1, keepdims=True)
    drawn = np.eye(3)[played["actions"]]
    np.testing.assert_allclose((drawn - expected).mean(axis=(0, 1)), 0, atol=0.01)


@pytest.mark.parametrize("learning", ["expected", "reinforce"])
def test_objective(learning, make_agent, game, rng):
    """The loss of 23 frames and 22 locations, worked out with NumPy."""
    agent = make_agent(stddev=0.05, entropy_weight=0.5, learning=learning)
    agent.compile()
    table = rng.normal(size=agent.prospects.table.shape).astype("float32")
    agent.prospects.table.assign(table / 10)
    games = ops.convert_to_tensor(game.begin("A", rng, 40))
    noise = drawn_once(agent, 40)
    played = agent(games, training=True)
    loss = ops.convert_to_numpy(agent.compute_loss(games, None, played))
    played = {name: ops.convert_to_numpy(value) for name, value in played.items()}
    log_probs = played["logits"] - np.log(
        np.exp(played["logits"]).sum(axis=-1, keepdims=True)
    )
    entropy = -(np.exp(log_probs) * log_probs).sum(axis=-1)
    table, losses = table.reshape(24, 48), []
    for states, errors, actions, logs, reward in zip(
        played["states"],
        noise[..., :2],
        played["actions"],
        log_probs,
        played["caught"],
        strict=True,
    ):
        lands = np.clip(np.floor(states[-1, 0]), 0, 23)

        def worth(frame, paddle, lands=lands):
            return table[frame, int(lands - paddle) + 23]

        values = [worth(frame, states[frame, 2]) for frame in range(24)]
        lucks, options, terms = [], [], []
        for frame in range(23):
            moves = [np.clip(states[frame, 2] + move, 0, 22) for move in (-1, 0, 1)]
            after = [worth(frame + 1, paddle) for paddle in moves]
            options.append(np.clip(after, 0, 1))
            expected = np.exp(logs[frame]) @ options[-1]
            lucks.append(values[frame + 1] - expected)
            if learning == "expected":
                terms.append(-np.log(expected + 0.05))
        for frame in range(23):
            error = reward - sum(lucks[frame:]) - values[frame]
            terms.append(error**2 * 23 / 24)
            if learning == "reinforce":
                action, mean = actions[frame], np.exp(logs[frame]) @ options[frame]
                later = reward - sum(lucks[frame + 1 :]) - values[frame + 1]
                gain = options[frame][action] - mean + later
                terms.append(-logs[frame, action] * gain / (mean + 0.05))
        terms.append((reward - values[23]) ** 2 * 23 / 24)
        for frame in range(22):
            density = -0.5 * errors[frame] @ errors[frame]
            density -= np.log(2 * np.pi * 0.05**2)
            later = reward - sum(lucks[frame + 1 :]) - values[frame + 1]
            terms.append(-0.05 * density * later)
        losses.append(sum(terms) / 23)
    expected = np.mean(losses) - 0.5 * entropy.mean()
    assert loss == pytest.approx(expected, rel=1e-4)
    caught = agent.get_metrics_result()["caught"]
    assert float(caught) == pytest.approx(played["caught"].mean())


def test_another_learning_is_refused(make_agent):
    with pytest.raises(ValueError, match="`learning` must be"):
        make_agent(learning="hybrid")


def test_credits_of_a_location_have_the_gradient_of_the_reward(catch, rng):
    """A location, and an action that hangs on it: the mean over all four games."""
    looks, actions, rewards = rng.normal(size=2), rng.normal(size=(2, 2)), (0.3, 1.0)
    first, second, *ends = rng.normal(size=4)  # any worth will do

    def chances(logits):
        return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)

    estimate, policy = np.zeros(2), chances(actions)
    for look, action in np.ndindex(2, 2):
        # The location changes nothing but how it is acted in the second frame.
        expected = [second, policy[look] @ ends]
        given = ([first, second, ends[action]], expected, rewards[action])
        given = [ops.convert_to_tensor(np.float32(one)[None]) for one in given]
        later = ops.convert_to_numpy(catch.catch_agent.credits(*given))[0]
        assert later[1] == pytest.approx(rewards[action] - ends[action], abs=1e-6)
        score = np.eye(2)[look] - chances(looks)
        estimate += chances(looks)[look] * policy[look, action] * later[0] * score
    for index in range(2):
        step = 1e-6 * np.eye(2)[index]
        more, less = (chances(looks + way * step) @ policy @ rewards for way in (1, -1))
        assert estimate[index] == pytest.approx((more - less) / 2e-6, abs=1e-5)


def test_exploration(make_agent):
    agent = make_agent(stddev=0.2, entropy_weight=0.5)
    agent.explore(0.25)
    assert agent.player.location_sampler.stddev == pytest.approx(0.05)
    assert float(agent.entropy_weight) == pytest.approx(0.125)
    again = type(agent).from_config(agent.get_config())
    again.build((None, 3))
    assert again.player.location_sampler.stddev == pytest.approx(0.2)


def test_agent_learns(catch, small_screen, make_agent, game, rng):
    agent = make_agent(units=32)
    validation = game.begin("A", rng, 1000)
    agent.compile(keras.optimizers.Adam(5e-3), jit_compile=JIT)
    before = agent.evaluate(validation, verbose=0, batch_size=500, return_dict=True)
    games = catch.Games("A", 512, batches=60, seed=0)
    agent.fit(games, verbose=0, shuffle=False)
    after = agent.evaluate(validation, verbose=0, batch_size=500, return_dict=True)
    assert before["caught"] < 0.6
    assert after["caught"] > 0.8


def test_a_stopped_run_goes_on_as_if_it_never_had(
    catch, small_screen, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(catch, "GAMES", 50)

    def run(output, **more):
        few = {"--epochs": 3, "--epoch-frames": 400, "--games": 16, "--units": 8}
        few = [str(word) for pair in few.items() for word in pair]
        flags = ["--verbose", "0", "--output", str(tmp_path / output)]
        flags += [] if BACKEND == "jax" else ["--no-jit"]  # slow without, there
        options = catch.parse_arguments([*few, *flags])
        vars(options).update(more)
        catch.train(options)
        return json.loads((tmp_path / output / "catch-A-s0/result.json").read_text())

    class Stopped(keras.callbacks.CSVLogger):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.on_train_end()  # closes the file
                raise KeyboardInterrupt

    whole = run("whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(keras.callbacks, "CSVLogger", Stopped)
        run("stopped")
    with pytest.raises(SystemExit, match="was begun with"):
        run("stopped", learning_rate=0.5)
    resumed = run("stopped")
    for result in (whole, resumed):
        assert len(result["curve"].pop("seconds")) == 3
    assert resumed["curve"] == whole["curve"]
    assert resumed["caught"] == whole["caught"]
    with pytest.raises(SystemExit, match="finished run"):
        run("whole")

    folder = tmp_path / "whole/catch-A-s0"
    assert (folder / "games.gif").stat().st_size > 1000
    agent = keras.saving.load_model(folder / "agent.keras")
    assert agent.get_config()["units"] == 8
    *_, rewards = agent.play(catch.catch_game.CatchVector(50, "A"), seed=1000)
    assert rewards.mean() == whole["caught"]
    catch.print_table(tmp_path / "whole")
    assert f"{whole['caught']:.2%}" in capsys.readouterr().out
