"""The example of a hierarchy, trained with the ordinary commands over a walking policy; both policies are tiny."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from motrix_gym.fields import configured
from motrix_gym.testing import check_vector_env
from motrix_gym.vector_env import MotrixVectorEnv
from motrix_train import environment
from motrix_train.cli import run
from motrix_train.errors import UsageError
from motrix_train.learning.policy import NumpyPolicy
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory

pytest.importorskip("torch")

EXAMPLES = Path(__file__).parents[2] / "examples"
GOAL = "go1_goal:Example/Go1Goal-v0"
TINY = (
    "--backend=torch",
    "--num-envs=4",
    "--max-env-steps=64",
    "--num-threads=1",
    "--set=rollouts=8",
    "--set=check_point_interval=16",
    "--set=policy_hidden_layer_sizes=8",
    "--set=mirror=policy",
    "--set=evaluation_interval=0",
)


@pytest.fixture(scope="module")
def walking(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A policy of the walking task, as bad as two rollouts make it."""
    path = tmp_path_factory.mktemp("walking") / "run"
    fields = ("control_dt=0.01", "command_high=[0.9, 0.5, 1.0]", "reward_weights.torques=0")
    assert run(["train", "Motrix/Go1-v0", f"--run-dir={path}", *TINY, *(f"--env={field}" for field in fields)]) == 0
    return str(path / "checkpoints" / "last.safetensors")


@pytest.fixture
def goal(monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of the example, whose module can be imported."""
    monkeypatch.syspath_prepend(EXAMPLES)
    environment.import_and_find_spec(GOAL)
    return GOAL


def test_it_trains_over_a_walking_policy(goal, walking, work, capsys):
    fields = (f"--env=policy={walking}", "--env=hold=3", "--env=max_episode_steps=12")
    assert run(["train", goal, "--run-dir=goal", *TINY, *fields]) == 0
    directory = RunDirectory(work / "goal")
    assert np.isfinite(directory.progress()["reward_terms/progress"]).all()
    steers = checkpoint.read(directory.best_policy())
    assert (steers.env_steps, steers.observation_shape, steers.action_shape) == (64, (52,), (3,))
    assert checkpoint.read(directory.resume_path).resume_state  # so it can be resumed exactly

    capsys.readouterr()
    assert run(["evaluate", "goal", "--episodes=5", "--num-threads=1", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["termination"].keys() == {"tilted", "trunk_contact", "diverged", "arrived"}
    assert sum(measured["termination"].values()) + measured["truncation"] == pytest.approx(1)
    assert 0 < measured["mean_length"] <= 12
    assert 0.3 < measured["metrics"]["distance"] < 5


def test_the_checker_finds_nothing(goal, walking):
    def make(num_envs: int):
        kwargs = {"policy": walking, "hold": 3, "max_episode_steps": 6, "goal_distance": [0.3, 0.32]}
        return environment.make_env(goal, num_envs, kwargs, num_threads=1)

    apart = laws_that_rounding_breaks(walking)
    assert check_vector_env(make, steps=16, skip=apart).skipped.keys() == {"single", *apart}


def laws_that_rounding_breaks(walking: str) -> tuple[str, ...]:
    """The laws that the policy cannot keep here: how a matrix product rounds a row depends on the processor.

    On some it depends on the place of the row too, or on the number of rows.
    """
    policy = NumpyPolicy(checkpoint.read(walking))
    observations = np.random.default_rng(0).standard_normal((64, 50), dtype=np.float32)
    actions = policy(observations)
    by_place = not np.array_equal(policy(observations[::-1].copy()), actions[::-1])
    by_number = any(not np.array_equal(policy(observations[:number]), actions[:number]) for number in range(1, 33))
    return ("position",) * by_place + ("number",) * by_number


def test_the_walking_policy_keeps_the_fields_it_was_trained_with(goal, walking):
    env = environment.make_env(goal, 1, {"policy": walking, "hold": 4, "arrival_radius": 0.5}, num_threads=1).unwrapped
    assert env.task.control_dt == pytest.approx(0.04)
    assert env.task.arrival_radius == 0.5
    assert env.task.weights == {"progress": 1.0, "arrival": 3.0, "fall": -3.0}
    assert env.single_action_space.high == pytest.approx([0.9, 0.5, 1.0])
    assert env.max_episode_steps == 100


def test_what_does_not_fit_is_one_line(goal, walking, tmp_path):
    with pytest.raises(UsageError, match="no policy to walk with; give policy="):
        environment.make_env(goal, 1, {})
    with pytest.raises(UsageError, match=r"there is no policy nowhere\.safetensors"):
        environment.make_env(goal, 1, {"policy": "nowhere.safetensors"})
    other = dataclasses.replace(checkpoint.read(walking), env_id="Motrix/CartPole-v0")
    checkpoint.write(tmp_path / "other.safetensors", other)
    with pytest.raises(UsageError, match="trained for Motrix/CartPole-v0, not for Motrix/Go1-v0"):
        environment.make_env(goal, 1, {"policy": str(tmp_path / "other.safetensors")})


def goal_task(**fields):
    from go1_goal import Go1Goal  # pyright: ignore[reportMissingImports]

    return configured(Go1Goal, fields)


def test_coming_nearer_is_rewarded_and_arriving_ends_the_episode(goal):
    env = MotrixVectorEnv(goal_task(), 3, num_threads=1)
    env.reset(seed=0)
    state = env.get_state()
    distance = np.linalg.norm(state["memory.goal"] - state["qpos"][:, :2], axis=1)
    assert ((distance >= 1.5) & (distance <= 4.0)).all()
    state["memory.goal"][0] = state["qpos"][0, :2] + [0.0, 0.2]
    env.set_state(state)
    _, _, terminated, _, info = env.step(np.zeros(env.action_space.shape))
    assert terminated.tolist() == [True, False, False]
    assert info["termination"]["arrived"].tolist() == [True, False, False]
    assert info["reward_terms"]["arrival"].tolist() == [3.0, 0.0, 0.0]
    assert not info["reward_terms"]["fall"].any()
    nearer = distance - info["metrics"]["distance"]
    np.testing.assert_allclose(info["reward_terms"]["progress"][1:], nearer[1:], atol=1e-12)


def test_the_command_is_nobodys_but_the_hierarchys(goal):
    env = MotrixVectorEnv(goal_task(command_interval=(0.02, 0.04), still_probability=0.0), 2, num_threads=1)
    command = env.observation_blocks["command"]
    assert not env.reset(seed=0)[0][:, command].any()
    for _ in range(4):
        assert not env.step(np.zeros(env.action_space.shape))[0][:, command].any()


def test_a_fall_is_no_arrival(goal):
    env = MotrixVectorEnv(goal_task(max_tilt=1e-6), 2, num_threads=1)
    env.reset(seed=0)
    *_, info = env.step(np.zeros(env.action_space.shape))
    assert info["reward_terms"]["fall"].tolist() == [-3.0, -3.0]
    assert not info["reward_terms"]["arrival"].any()


def test_the_goal_is_seen_from_the_robot(goal):
    from go1_goal import seen_from  # pyright: ignore[reportMissingImports]

    turned_left = [1.0, 2.0, 0.3, np.cos(np.pi / 4), 0.0, 0.0, np.sin(np.pi / 4)]
    ahead = [0.0, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]
    seen = seen_from(np.array([turned_left, ahead]), np.array([[0.0, 5.0], [1.0, 2.0]]))
    np.testing.assert_allclose(seen, [[3.0, 1.0], [1.0, 2.0]], atol=1e-12)


def test_the_mirror_image_of_a_goal_is_on_the_other_side(goal):
    from go1_goal import GoalState  # pyright: ignore[reportMissingImports]

    env = MotrixVectorEnv(goal_task(), 2, num_threads=1)
    observations, _ = env.reset(seed=0)
    assert list(env.mirror.blocks) == list(env.observation_blocks)
    block = env.observation_blocks["goal"]
    np.testing.assert_array_equal(env.mirror.observation(observations)[:, block], observations[:, block] * [1, -1])
    state = env.get_state()
    task_state = GoalState(**{f.name: state[f"memory.{f.name}"] for f in dataclasses.fields(GoalState)})
    np.testing.assert_array_equal(env.mirror.state(task_state).goal, task_state.goal * [1, -1])
