"""Environments of other packages: trained, evaluated, played and resumed with nothing but what Gymnasium promises."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from comparison import everything
from gymnasium.spaces import Box
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from hypothesis import given
from hypothesis import strategies as st
from test_resume import TINY, Stopper, job

import motrix_gym  # noqa: F401  (registers the ids)
from motrix_train import env_protocol
from motrix_train import infos as step_infos
from motrix_train.cli import run as command
from motrix_train.config import PPOCfg
from motrix_train.errors import UsageError
from motrix_train.learning.agent import Agent, successors
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training import evaluation
from motrix_train.training.request import TrainRequest
from motrix_train.training.run import train_run

LIMIT = 20
SHORT = 10


class Point(VectorEnv):
    """A point on a line that is to come to 0, written by somebody who knows Gymnasium only."""

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_fps": 10}

    def __init__(self, num_envs: int = 1, max_episode_steps: int = 1000, render_mode: str | None = None) -> None:
        self.num_envs, self._limit, self.render_mode = num_envs, max_episode_steps, render_mode
        self.single_observation_space = Box(-np.inf, np.inf, (2,), np.float64)
        self.single_action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._x, self._age = np.zeros(num_envs), np.zeros(num_envs, int)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._begin(np.ones(self.num_envs, dtype=bool))
        return self._observation(), {}

    def step(self, actions: np.ndarray) -> Any:
        self._x = self._x + 0.1 * np.clip(actions[:, 0], -1.0, 1.0)
        self._age = self._age + 1
        terminated = np.abs(self._x) > 1.5
        truncated = (self._age >= self._limit) & ~terminated
        ended, last, rewards = terminated | truncated, self._observation(), -np.abs(self._x)
        self._begin(ended)
        return self._observation(), rewards, terminated, truncated, self._infos(last, ended)

    def render(self) -> Any:
        return tuple(np.full((33, 47, 3), 9, np.uint8) for _ in self._x)

    def _infos(self, last: np.ndarray, ended: np.ndarray) -> dict[str, Any]:
        return {"final_obs": last, "_final_obs": ended} if ended.any() else {}

    def _begin(self, rows: np.ndarray) -> None:
        drawn = self.np_random.uniform(-1.3, 1.3, self.num_envs)
        self._x, self._age = np.where(rows, drawn, self._x), np.where(rows, 0, self._age)

    def _observation(self) -> np.ndarray:
        return np.stack([self._x, np.sign(self._x)], axis=1)


class Bare(Point):
    """The same, with neither a mask beside the last observation nor a frame rate."""

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def _infos(self, last: np.ndarray, ended: np.ndarray) -> dict[str, Any]:
        return {"final_obs": last} if ended.any() else {}


class Silent(Point):
    """The same, which keeps the last observation to itself."""

    def _infos(self, last: np.ndarray, ended: np.ndarray) -> dict[str, Any]:
        return {}


class Strict(Point):
    """The same, which refuses options that it does not know."""

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        if options:
            raise KeyError(f"options {options}")
        return super().reset(seed=seed)


class Partial(Point):
    """The same, which resets some of its rows where it is asked to."""

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        if not options:
            return super().reset(seed=seed)
        self._begin(options["reset_mask"])
        return self._observation(), {}


class Endless(Point):
    """The same, whose time limit stands in its registration only."""

    def __init__(self, num_envs: int = 1, max_episode_steps: int = 0, render_mode: str | None = None) -> None:
        super().__init__(num_envs, 10**9, render_mode)


class Saved(Point):
    """The same, which can save its state."""

    def get_state(self) -> dict[str, Any]:
        state: Any = self.np_random.bit_generator.state
        words = state["state"]["state"], state["state"]["inc"]
        split = [(word >> shift) & (2**64 - 1) for word in words for shift in (0, 64)]
        return {"x": self._x.copy(), "age": self._age.copy(), "draws": np.array(split, np.uint64)}

    def set_state(self, state: dict[str, Any]) -> np.ndarray:
        self._x, self._age = np.array(state["x"]), np.array(state["age"])
        low, high, inc_low, inc_high = map(int, state["draws"])
        words = {"state": low + (high << 64), "inc": inc_low + (inc_high << 64)}
        self.np_random.bit_generator.state = {
            "bit_generator": "PCG64", "state": words, "has_uint32": 0, "uinteger": 0
        }  # fmt: skip
        return self._observation()


class Blind(Point):
    """The same, which draws nothing."""

    def render(self) -> None:
        return None


class Broken(Point):
    """The same, which fails as it draws."""

    def render(self) -> None:
        raise KeyError("no screen")


class Together(Point):
    """The same, which draws all rows in one picture."""

    def render(self) -> np.ndarray:
        return np.full((33, 47, 3), 9, np.uint8)


class Told(gymnasium.Env):
    """One point whose infos tell as much as those of Motrix, as single environments of others may."""

    observation_space = Box(-np.inf, np.inf, (1,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._x = self.np_random.uniform(-1.0, 1.0)
        return np.array([self._x], np.float32), {"metrics": {"place": 1000.0}}

    def step(self, action: np.ndarray) -> Any:
        self._x += 0.2
        fell = self._x > 1.5
        info = {"metrics": {"place": self._x}, "termination": {"fell": True} if fell else {}, "success": self._x > 1.6}
        return np.array([self._x], np.float32), 1.0, fell, False, info


def pendulum(num_envs: int, max_episode_steps: int = SHORT, form: str = "sync", **kwargs: Any) -> VectorEnv:
    """Gymnasium's own pendulum in its own vector environments."""
    kinds: dict[str, Any] = {"sync": SyncVectorEnv, "async": AsyncVectorEnv, "dense": SyncVectorEnv}
    functions = [lambda: gymnasium.make("Pendulum-v1", max_episode_steps=max_episode_steps, **kwargs)] * num_envs
    started = {"context": "spawn"} if form == "async" else {}  # a fork of a process with threads may hang
    env = kinds[form](functions, autoreset_mode=AutoresetMode.SAME_STEP, **started)
    return Dense(env) if form == "dense" else env


class Dense(VectorWrapper):
    """Gives the last observations of rows that ended as one array."""

    def step(self, actions: Any) -> Any:
        *results, infos = self.env.step(actions)
        if "final_obs" in infos:
            last = np.stack([np.zeros(3) if x is None else x for x in infos["final_obs"]])
            infos = {**infos, "final_obs": last}
        return *results, infos


for kind in (Point, Bare, Silent, Strict, Partial, Endless, Saved, Blind, Broken, Together):
    gymnasium.register(f"Others/{kind.__name__}-v0", vector_entry_point=kind, max_episode_steps=LIMIT)
gymnasium.register("Others/Pendulum-v0", vector_entry_point=pendulum)
gymnasium.register(
    "Others/Told-v0", Told, max_episode_steps=30, kwargs={"vector_kwargs": {"autoreset_mode": "SameStep"}}
)


def others(backend: str, cfg: PPOCfg, env_id: str, **env_kwargs: Any) -> TrainRequest:
    """A job in an environment that has no physics threads."""
    return replace(job(backend, cfg, env_id), env_kwargs=env_kwargs, num_threads=0)


OPTIONS = (
    *("--num-envs=8", "--set=rollouts=16", "--set=check_point_interval=32", "--set=evaluation_interval=3"),
    *("--set=evaluation_episodes=8", "--set=policy_hidden_layer_sizes=16", "--set=value_hidden_layer_sizes=16"),
    *("--set=learning_rate=0.01", "--quiet"),
)


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("kind", ["Point", "Bare"])
def test_it_learns_is_measured_and_played(kind: str, backend: str, work: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip(backend)
    updates = 40 if backend == "torch" else 8
    env_id, steps = f"Others/{kind}-v0", f"--max-env-steps={updates * 128}"
    named = f"{__name__}:{env_id}"
    assert command(["train", named, f"--backend={backend}", "--run-dir=mine", steps, *OPTIONS]) == 0
    returns = RunDirectory(Path("mine")).progress()["evaluation/mean_return"]
    returns = returns[np.isfinite(returns)]
    if backend == "torch":
        assert returns[-1] > returns[0] + 3
    policy = str(RunDirectory(Path("mine")).checkpoint("best"))
    capsys.readouterr()
    assert command(["evaluate", policy, "--env-id", env_id, "--episodes=16", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert sum(measured["termination"].values()) + measured["truncation"] == pytest.approx(1.0)
    assert measured["metrics"] == {}
    for video in ("seen.png", "seen.mp4"):
        options = ["--num-envs=3", "--seconds=1", "--video", video]
        assert command(["play", policy, "--env-id", env_id, *options]) == 0, capsys.readouterr().err
        assert Path(video).stat().st_size > 100


def away(observations: np.ndarray) -> np.ndarray:
    return np.sign(observations[:, :1])


def still(observations: np.ndarray) -> np.ndarray:
    return np.zeros((len(observations), 1))


def test_an_end_without_a_reason_is_an_end(monkeypatch: pytest.MonkeyPatch):
    measured = evaluation.evaluate_policy(away, "Others/Point-v0", {}, episodes=12)
    assert (measured.termination, measured.truncation) == ({"terminated": 1.0}, 0.0)
    assert evaluation.evaluate_policy(still, "Others/Point-v0", {}, episodes=12).termination == {}
    monkeypatch.setattr(evaluation, "MAX_ENVS", 5)  # some parts have a reason that others do not have
    policies = iter([still, away, still])

    def changing(observations: np.ndarray) -> np.ndarray:
        return chosen[-1](observations)

    chosen: list[Any] = []
    make = evaluation.environment.make_env

    def made(*arguments: Any) -> VectorEnv:
        chosen.append(next(policies))
        return make(*arguments)

    monkeypatch.setattr(evaluation.environment, "make_env", made)
    measured = evaluation.evaluate_policy(changing, "Others/Point-v0", {}, episodes=12)
    assert measured.termination == {"terminated": pytest.approx(5 / 12)}
    assert measured.truncation == pytest.approx(7 / 12)


def test_a_limit_that_only_the_registration_knows_counts():
    measured = evaluation.evaluate_policy(still, "Others/Endless-v0", {}, episodes=3)
    assert (measured.mean_length, measured.truncation) == (LIMIT, 1.0)
    assert evaluation.evaluate_policy(still, "Others/Point-v0", {"max_episode_steps": 7}, episodes=3).mean_length == 7


def test_infos_of_single_environments_are_those_of_the_step_and_not_of_the_reset():
    measured = evaluation.evaluate_policy(still, "Others/Told-v0", {}, episodes=20, seed=3)
    places, successes = [], []
    for row in range(20):
        env = Told()
        env.reset(seed=evaluation.first_env_seed(3) + row)
        ended = False
        while not ended:
            _, _, ended, _, info = env.step(np.zeros(1, np.float32))
            places.append(info["metrics"]["place"])
        successes.append(info["success"])
    assert measured.metrics == {"place": pytest.approx(np.mean(places))}
    assert measured.termination == {"fell": 1.0}
    assert 0 < measured.success < 1
    assert measured.success == pytest.approx(np.mean(successes))


@pytest.mark.parametrize("form", ["sync", "async"])
def test_the_form_of_the_last_observations_does_not_matter(form: str, tmp_path: Path):
    runs = []
    for name in (form, "dense"):
        cfg = replace(TINY, num_envs=2, max_env_steps=2 * 16 * 4, evaluation_episodes=2)
        run = others("torch", cfg, "Others/Pendulum-v0", form=name).create_run("", tmp_path / name)
        train_run(run, Stopper())
        lengths = run.progress()["mean_episode_length"]
        assert set(lengths[np.isfinite(lengths)]) == {SHORT}
        left = everything(run)
        runs.append({**left, "events": left["events"][1:]})  # the first has the hyperparameters, with the form
    assert runs[0] == runs[1]


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_pendulum_of_gymnasium_with_short_episodes_trains(backend: str, tmp_path: Path):
    run = others(backend, replace(TINY, max_env_steps=128 * 2), "Others/Pendulum-v0").create_run("", tmp_path / "run")
    train_run(run, Stopper())
    assert run.progress()["episodes"][-1] > 8
    assert run.progress()["evaluation/mean_length"][-1] == SHORT


@given(rows=st.lists(st.booleans(), min_size=1, max_size=6), seed=st.integers(0, 2**32))
def test_both_forms_of_the_last_observations_are_understood(rows: list[bool], seed: int):
    ended, rng = np.array(rows), np.random.default_rng(seed)
    present, last = rng.normal(size=(2, len(rows), 3)).astype(np.float32)
    objects = np.full(len(rows), None, dtype=object)
    for row in np.flatnonzero(ended):
        objects[row] = last[row]
    expected = np.where(ended[:, None], last, present)
    for values in (last, objects):
        np.testing.assert_array_equal(successors(present, {"final_obs": values, "_final_obs": ended}), expected)
        np.testing.assert_array_equal(
            successors(present, step_infos.with_masks({"final_obs": values}, ended)), expected
        )


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_one_that_saves_its_state_is_resumed_exactly(backend: str, tmp_path: Path):
    runs = [others(backend, TINY, "Others/Saved-v0").create_run("", tmp_path / name) for name in "ab"]
    train_run(runs[0], Stopper())
    train_run(runs[1], Stopper(3))
    assert not train_run(RunDirectory.open(runs[1].path), Stopper()).interrupted
    assert everything(runs[0]) == everything(runs[1])


@pytest.mark.parametrize(
    ("env_id", "staggered"),
    [("Point", False), ("Strict", False), ("Partial", True), ("Pendulum", True)],
)
def test_first_episodes_are_cut_where_rows_can_be_reset(env_id: str, staggered: bool, tmp_path, monkeypatch):
    seen, record = [], Agent.record

    def recording(self, rewards, observations, terminated, truncated, infos, states):
        seen.append(truncated)
        record(self, rewards, observations, terminated, truncated, infos, states)

    monkeypatch.setattr(Agent, "record", recording)
    cfg = replace(TINY, max_env_steps=128 * 2, evaluation_interval=0, initial_log_std=-20.0)
    train_run(others("torch", cfg, f"Others/{env_id}-v0").create_run("", tmp_path / "run"), Stopper())
    limit = SHORT if env_id == "Pendulum" else LIMIT
    cut = np.array(seen)[: limit - 1].any()
    assert cut == staggered
    assert np.array(seen)[: 2 * limit].any(axis=0).all()


def test_one_that_keeps_its_last_observations_is_refused(tmp_path: Path):
    cfg = replace(TINY, staggered_starts=False, initial_log_std=-20.0)
    with pytest.raises(UsageError, match=r"the last observation of an .*final_obs.*give time_limit_bootstrap=false"):
        train_run(others("torch", cfg, "Others/Silent-v0").create_run("", tmp_path / "refused"), Stopper())
    cfg = replace(cfg, time_limit_bootstrap=False, max_env_steps=128 * 2)
    assert not train_run(
        others("torch", cfg, "Others/Silent-v0").create_run("", tmp_path / "run"), Stopper()
    ).interrupted


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy for a point."""
    cfg = replace(TINY, max_env_steps=128, evaluation_interval=0)
    run = others("torch", cfg, "Others/Point-v0").create_run("", tmp_path_factory.mktemp("point") / "run")
    return train_run(run, Stopper()).last


@pytest.mark.parametrize(
    ("kind", "code", "told"),
    [("Blind", 1, "render() gives None"), ("Broken", 1, "no screen"), ("Told", 2, "takes no arguments")],
)
def test_what_cannot_be_drawn_is_one_line(kind, code, told, policy, tmp_path, capsys):
    env_id = f"Others/{kind}-v0"
    if kind == "Told":
        run = others("torch", replace(TINY, max_env_steps=128), env_id).create_run("", tmp_path / "run")
        policy = train_run(run, Stopper()).last
    capsys.readouterr()
    found = command(["play", str(policy), "--env-id", env_id, "--num-envs=2", "--video", str(tmp_path / "seen.png")])
    lines = capsys.readouterr().err.splitlines()
    assert found == code
    assert len(lines) == 1
    assert told in lines[0]
    assert not (tmp_path / "seen.png").exists()


def test_one_picture_of_all_rows_is_shown_as_it_is(policy: Path, tmp_path: Path):
    options = ["--num-envs=4", "--seconds=1", "--video", str(tmp_path / "seen.mp4")]
    assert command(["play", str(policy), "--env-id", "Others/Together-v0", *options]) == 0
    assert (tmp_path / "seen.mp4").stat().st_size > 100


@pytest.mark.parametrize("env_id", [env_id for env_id in gymnasium.registry if env_id.startswith("Motrix/")])
def test_of_every_environment_of_motrix_all_that_is_there_is_found(env_id: str):
    def make(num_envs: int) -> VectorEnv:
        return gymnasium.make_vec(env_id, num_envs=num_envs, num_threads=1)

    env = make(2)
    assert env_protocol.resets_envs(env, make)
    assert env_protocol.is_resumable(env)
    assert env_protocol.time_limit(env) == gymnasium.spec(env_id).max_episode_steps
    assert env_protocol.step_seconds(env) == pytest.approx(1 / env.metadata["render_fps"], rel=0.1)
    env.reset(seed=0)
    *_, infos = env.step(env.action_space.sample())
    for group in ("reward_terms", "metrics", "termination"):
        found = {name for name, _, _ in step_infos.columns(infos, group)}
        assert found == {name for name in infos[group] if not name.startswith("_")}
    env.close()


def test_show_has_no_table_of_a_task_where_there_is_none(capsys):
    assert command(["show", "Pendulum-v1", "--backend=torch"]) == 0
    shown = capsys.readouterr().out
    assert "PPO (--set)" in shown
    assert "Task (--env)" not in shown
