"""Soft Actor-Critic: what it learns from is what happened, and a run that was killed is the run that never was."""

import functools
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from comparison import everything
from hypothesis import given, settings
from hypothesis import strategies as st
from test_resume import Stopper
from test_truncation_bootstrap import ROWS, episodes, feed

from motrix_train import schema
from motrix_train.cli import run as command
from motrix_train.config import BaseRLCfg, PPOCfg, SACCfg, to_json
from motrix_train.errors import RunError, UsageError
from motrix_train.learning.agent import Update
from motrix_train.learning.backend import select
from motrix_train.learning.policy import NumpyPolicy
from motrix_train.learning.replay import ReplayMemory
from motrix_train.learning.sac import SACAgent
from motrix_train.learning.transfer import InitFrom
from motrix_train.storage import checkpoint
from motrix_train.storage.array_tree import leaves
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.agents import fresh_agent
from motrix_train.training.request import TrainRequest
from motrix_train.training.run import train_run

GAMMA = 0.9
TINY = SACCfg(
    seed=5,
    num_envs=4,
    max_env_steps=4 * 8 * 12,
    check_point_interval=16,
    check_points_kept=2,
    evaluation_interval=5,
    evaluation_episodes=4,
    rollouts=8,
    updates_per_env_step=0.25,
    batch_size=16,
    n_steps=3,
    memory_size=4 * 24,  # 3 rollouts: it is full early
    random_timesteps=8,
    learning_starts=16,
    policy_hidden_layer_sizes=(8,),
    value_hidden_layer_sizes=(8,),
)


with_both = pytest.mark.parametrize("name", ["torch", "jax"])


def agent_of(name: str, cfg: SACCfg) -> SACAgent:
    pytest.importorskip(name)
    chosen = select(name)
    chosen.seed_everything(0)
    spaces = gymnasium.spaces.Box(-10, 10, (2,)), gymnasium.spaces.Box(-1.0, 3.0, (1,))
    agent = chosen.make_agent(*spaces, cfg.num_envs, cfg, None, "cpu")
    assert isinstance(agent, SACAgent)
    return agent


def stored(agent: SACAgent, name: str) -> np.ndarray:
    """A tensor of the memory, (steps, N, ...)."""
    return np.asarray(agent.skrl.memory.get_tensor_by_name(name))


@with_both
def test_the_memory_holds_the_true_last_observations(name: str):
    steps, data = 8, episodes(8, seed=0)
    agent = agent_of(name, replace(TINY, num_envs=ROWS, learning_starts=100))
    feed(agent, data)
    ended = data.terminated | data.truncated
    after = np.where(ended[..., None], data.final, data.observations[1:])
    assert ended.any()
    assert (stored(agent, "next_observations")[:steps] == after).all()
    assert (stored(agent, "observations")[:steps] == data.observations[:-1]).all()
    assert (stored(agent, "terminated")[:steps, :, 0] == data.terminated).all()
    assert stored(agent, "rewards")[:steps, :, 0] == pytest.approx(data.rewards)


@pytest.mark.parametrize(
    ("name", "bootstraps", "n_steps"), [("torch", True, 1), ("torch", False, 3), ("jax", True, 1), ("jax", True, 3)]
)
def test_targets_go_on_after_a_truncation_and_end_at_a_termination(name: str, bootstraps: bool, n_steps: int):
    """The target critics are a known function of the next observation, and entropy is worth nothing."""
    data = episodes(8, seed=1)
    cfg = replace(
        TINY,
        num_envs=ROWS,
        discount_factor=GAMMA,
        learn_entropy=False,
        initial_entropy_value=1e-12,
        updates_per_env_step=1 / 24,
        learning_starts=8,
        time_limit_bootstrap=bootstraps,
        n_steps=n_steps,
    )
    agent = agent_of(name, cfg)
    agent._learn_normalizers = lambda: None
    for critic in (agent.skrl.target_critic_1, agent.skrl.target_critic_2):
        critic.act = lambda inputs, role, params=None: (100 + inputs["observations"][:, :1], {})
    sampled = []
    sample = agent.skrl.memory.sample
    agent.skrl.memory.sample = lambda *names, **size: sampled.extend(found := sample(*names, **size)) or found
    updates = []
    learn = agent.learn
    agent.learn = lambda: updates.append(learn())
    feed(agent, data)
    update = updates[-1]
    [(observations, *_)] = sampled
    expected = []
    for observation in np.asarray(observations):
        step, row = np.argwhere((data.observations[:-1] == observation).all(axis=-1))[0]
        target = 0.0
        for later in range(n_steps):
            now = step + later
            target += GAMMA**later * data.rewards[now, row]
            ended = data.terminated[now, row] or data.truncated[now, row]
            if ended or now + 1 == len(data.rewards):
                break
        over = data.terminated[now, row] or (data.truncated[now, row] and not bootstraps)
        after = data.final[now, row] if ended else data.observations[now + 1, row]
        expected.append(target + (0 if over else GAMMA ** (later + 1) * (100 + after[0])))
    assert update.diagnostics["target_mean"] == pytest.approx(np.mean(expected), rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(window=st.integers(1, 6), slack=st.integers(0, 4), num_envs=st.integers(1, 3), steps=st.integers(1, 25))
def test_samples_are_the_newest_transitions_and_all_of_them(window, slack, num_envs, steps):
    memory = ReplayMemory(window, slack, num_envs=num_envs, to_device=np.array, to_host=np.array)
    memory.create_tensor("rewards", size=1)
    for step in range(steps):
        memory.add_samples(rewards=np.arange(num_envs)[:, None] + 100.0 * step)
    [[found]] = memory.sample(["rewards"], batch_size=2000)
    newest = range(max(0, steps - window), steps)
    assert set(found[:, 0].tolist()) == {100.0 * step + env for step in newest for env in range(num_envs)}


@settings(max_examples=60, deadline=None)
@given(
    window=st.integers(1, 6),
    num_envs=st.integers(1, 3),
    steps=st.integers(1, 25),
    n_steps=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_a_sample_spans_n_steps_of_one_episode(window, num_envs, steps, n_steps, seed):
    rng = np.random.default_rng(seed)
    memory = ReplayMemory(
        window, 2, num_envs=num_envs, to_device=np.array, to_host=np.array, n_steps=n_steps, discount_factor=0.5
    )
    for name in ("observations", "rewards", "next_observations", "terminated"):
        memory.create_tensor(name, size=1)
    number = np.arange(steps)[:, None] + 100.0 * np.arange(num_envs)  # of each transition, (steps, N)
    rewards = rng.integers(-8, 8, (steps, num_envs)).astype(float)
    ends = rng.choice(["no", "terminated", "truncated"], (steps, num_envs), p=[0.6, 0.2, 0.2])
    for step in range(steps):
        memory.note_truncated(ends[step] == "truncated")
        memory.add_samples(
            observations=number[step][:, None],
            rewards=rewards[step][:, None],
            next_observations=number[step][:, None] + 0.5,
            terminated=(ends[step] == "terminated")[:, None],
        )
    names = ["observations", "rewards", "next_observations", "terminated", "discounts"]
    [found] = memory.sample(names, batch_size=100)
    for start, total, after, terminated, discount in zip(*(x[:, 0].tolist() for x in found), strict=True):
        env, step = divmod(int(start), 100)
        span = [step]
        while len(span) < n_steps and ends[span[-1], env] == "no" and span[-1] + 1 < steps:
            span.append(span[-1] + 1)
        assert total == sum(0.5**k * rewards[now, env] for k, now in enumerate(span))
        assert after == number[span[-1], env] + 0.5
        assert terminated == (ends[span[-1], env] == "terminated")
        assert discount == 0.5 ** len(span)


@pytest.mark.parametrize(
    ("name", "num_envs", "rollouts", "ratio"),
    [("torch", 4, 8, 0.5), ("torch", 16, 2, 0.5), ("torch", 2, 5, 1.3), ("jax", 2, 5, 1.3)],
)
def test_gradient_steps_are_as_many_as_are_asked_for_each_env_step(name, num_envs, rollouts, ratio):
    cfg = replace(
        TINY,
        num_envs=num_envs,
        rollouts=rollouts,
        updates_per_env_step=ratio,
        learning_starts=8,
        memory_size=1000,
    )
    agent = agent_of(name, cfg)
    steps = 10 * rollouts
    rng = np.random.default_rng(0)
    for _ in range(steps):
        agent.act(rng.standard_normal((num_envs, 2)).astype(np.float32))
        no = np.zeros(num_envs, bool)
        agent.record(no.astype(float), rng.standard_normal((num_envs, 2)).astype(np.float32), no, no, {})
        agent.learn()
    silent = -(-cfg.learning_starts // rollouts) - 1  # updates before enough steps were taken
    optimizers = dict(leaves(select(name).agent_state(agent)["optimizer"]))
    [done] = {int(x) for path, x in optimizers.items() if path.endswith(("/step", "/count"))}
    assert done == (10 - silent) * round(ratio * num_envs * rollouts)


@with_both
def test_the_normalizer_learns_from_each_observation_once(name: str):
    data = episodes(8, seed=2)
    agent = agent_of(name, replace(TINY, num_envs=ROWS, learning_starts=8))
    feed(agent, data)
    normalizer = agent.skrl.checkpoint_modules["observation_preprocessor"]
    seen = data.observations[:-1].reshape(-1, 2)
    assert int(np.asarray(normalizer.current_count).item()) == 1 + len(seen)
    assert np.asarray(normalizer.running_mean) == pytest.approx(seen.sum(0) / (1 + len(seen)), abs=1e-6)


@with_both
def test_random_actions_come_first_and_fill_their_bounds(name: str):
    agent = agent_of(name, replace(TINY, num_envs=1000, random_timesteps=2, learning_starts=3, memory_size=100_000))
    acted = []
    for _ in range(3):
        acted.append(agent.act(np.zeros((1000, 2), np.float32)))
        no = np.zeros(1000, bool)
        agent.record(no.astype(float), np.zeros((1000, 2), np.float32), no, no, {})
    for actions in acted[:2]:
        assert (actions.min() >= -1, actions.max() <= 3) == (True, True)
        assert (actions.mean(), actions.std()) == (pytest.approx(1, abs=0.15), pytest.approx(4 / 12**0.5, abs=0.1))
    assert acted[2].std() > 0.1
    assert agent.policy(np.zeros((1, 2), np.float32)) == pytest.approx(1.0, abs=0.1)  # the middle, at first


@with_both
def test_the_density_of_an_action_is_that_of_the_squashed_gaussian(name: str):
    torch = pytest.importorskip("torch")
    agent = agent_of(name, TINY)
    inputs = {"observations": agent._to_device(np.random.default_rng(0).standard_normal((500, 2)))}
    mean, outputs = agent.skrl.policy.compute(inputs, "policy")
    actions, sampled = agent.skrl.policy.act(inputs, role="policy")
    mean, log_std, actions, log_prob = (
        torch.tensor(agent._to_host(x)) for x in (mean, outputs["log_std"], actions, sampled["log_prob"])
    )
    squashed = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, log_std.exp()), [torch.distributions.TanhTransform()]
    )
    unscaled = (actions - 1) / 2  # bounds -1 and 3
    expected = squashed.log_prob(unscaled.clamp(-1 + 1e-6, 1 - 1e-6)).sum(-1, keepdim=True)
    assert log_prob.numpy() == pytest.approx(expected.numpy(), abs=2e-2)


def fed(agent: SACAgent, updates: int) -> list[Update]:
    """The reports of some updates from random transitions."""
    rng, reports = np.random.default_rng(0), []
    num_envs = agent.skrl.memory.num_envs
    while len(reports) < updates:
        agent.act(rng.standard_normal((num_envs, 2)).astype(np.float32))
        terminated = rng.random(num_envs) < 0.2
        after = rng.standard_normal((num_envs, 2)).astype(np.float32)
        agent.record(rng.standard_normal(num_envs), after, terminated, np.zeros(num_envs, bool), {})
        reports += [report for report in [agent.learn()] if report is not None]
    return reports


def test_a_gradient_step_is_the_same_on_both():
    """With next to no noise, and entropy worth next to nothing, nothing is left to chance but the batches."""
    for backend in ("torch", "jax"):
        pytest.importorskip(backend)
    cfg = replace(TINY, max_log_std=-15.0, min_log_std=-16.0, learn_entropy=False, initial_entropy_value=1e-9)
    cfg = replace(cfg, random_timesteps=0, learning_starts=8, grad_norm_clip=0.5, learning_rate=1e-3, polyak=0.1)
    first, second = agent_of("torch", cfg), agent_of("jax", cfg)
    select("jax").load_network_state(second, select("torch").network_state(first))
    reports = []
    for agent in (first, second):
        np.random.seed(0)  # noqa: NPY002  # the batches
        reports.append(fed(agent, 3)[-1])
    mine, other = dict(leaves(select("torch").network_state(first))), dict(leaves(select("jax").network_state(second)))
    start = dict(leaves(select("torch").network_state(agent_of("torch", cfg))))
    assert any(np.abs(mine[path] - start[path]).max() > 1e-3 for path in mine if path.startswith("target_critic_1"))
    for path, array in mine.items():
        assert other[path] == pytest.approx(array, abs=1e-4), path
    assert reports[1].losses == pytest.approx(reports[0].losses, rel=1e-3)
    assert reports[1].diagnostics == pytest.approx(reports[0].diagnostics, rel=1e-3)


def test_nothing_is_compiled_after_the_first_update(caplog: pytest.LogCaptureFixture):
    jax = pytest.importorskip("jax")
    agent = agent_of("jax", replace(TINY, learning_starts=8, random_timesteps=0))
    with jax.log_compiles():
        fed(agent, 1)
        assert "Compiling" in caplog.text
        caplog.clear()
        fed(agent, 2)
    assert "Compiling" not in caplog.text


def job(name: str, cfg: SACCfg = TINY, env_id: str = "Motrix/Pendulum-v0", **more: Any) -> TrainRequest:
    pytest.importorskip(name)
    return TrainRequest(env_id=env_id, env_kwargs={}, backend=name, cfg=cfg, device="cpu", num_threads=1, **more)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RunDirectory]:
    """The run of a backend that was never stopped, to be read only."""

    @functools.cache
    def trained(name: str) -> RunDirectory:
        run = job(name).create_run("", tmp_path_factory.mktemp("sac") / "run")
        assert not train_run(run, Stopper()).interrupted
        return run

    return trained


@pytest.mark.parametrize(("name", "updates"), [("torch", 1), ("torch", 5), ("torch", 10), ("jax", 5)])
def test_stopped_and_resumed(whole: Callable[[str], RunDirectory], name: str, updates: int, tmp_path: Path):
    run = job(name).create_run("", tmp_path / "run")
    assert train_run(run, Stopper(updates)).interrupted
    assert not train_run(run, Stopper()).interrupted
    assert everything(run) == everything(whole(name))


@pytest.mark.parametrize(("name", "updates"), [("torch", 2), ("torch", 6)])
def test_killed_just_before_the_next_checkpoint(
    whole: Callable[[str], RunDirectory], name: str, updates: int, tmp_path: Path
):
    """The memory of a checkpoint outlives whatever is recorded until the next one."""
    run = job(name).create_run("", tmp_path / "run")
    train_run(run, Stopper(updates))
    kept = run.resume_path.read_bytes()
    train_run(run, Stopper(2))  # a checkpoint interval more
    run.resume_path.write_bytes(kept)
    train_run(run, Stopper())
    assert everything(run) == everything(whole(name))


@with_both
def test_killed_with_sigkill(name: str, tmp_path: Path):
    pytest.importorskip(name)
    begin = [
        *(sys.executable, "-m", "motrix_train", "train", "Motrix/Pendulum-v0", "--algorithm=sac", f"--backend={name}"),
        *("--seed=5", "--quiet", "--num-threads=1", "--num-envs=4", "--max-env-steps=1600"),
        *("--set=rollouts=4", "--set=check_point_interval=8", "--set=updates_per_env_step=0.25"),
        *("--set=memory_size=200", "--set=batch_size=16", "--set=learning_starts=8", "--set=random_timesteps=4"),
        *("--set=policy_hidden_layer_sizes=8", "--set=value_hidden_layer_sizes=8", "--set=evaluation_interval=0"),
    ]
    subprocess.run([*begin, f"--run-dir={tmp_path / 'whole'}"], check=True, stdout=subprocess.DEVNULL)
    run = RunDirectory(tmp_path / "killed")
    process = subprocess.Popen([*begin, f"--run-dir={run.path}"], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if run.progress_path.exists() and len(run.progress_path.read_text().splitlines()) > 40:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    assert process.returncode == -signal.SIGKILL
    subprocess.run(
        [sys.executable, "-m", "motrix_train", "train", "--resume", str(run.path), "--quiet"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert everything(run) == everything(RunDirectory(tmp_path / "whole"))


@pytest.mark.parametrize("damage", ["lost", "cut"])
def test_a_run_without_its_memory_is_not_resumed(tmp_path: Path, damage: str):
    run = job("torch").create_run("", tmp_path / "run")
    train_run(run, Stopper(4))
    file = run.path / "replay" / "actions.replay"
    if damage == "lost":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"actions\.replay was lost or damaged: start a new run with --init-from"):
        train_run(run, Stopper())


@pytest.mark.parametrize(
    ("trained_by", "env_id", "changes"),
    [
        ("torch", "Motrix/CartPole-v0", {}),
        ("torch", "Motrix/Go1-v0", {"mirror": "policy"}),
        ("jax", "Motrix/Go1-v0", {"mirror": "policy", "critic": "state", "policy_hidden_layer_sizes": (8, 6)}),
    ],
)
def test_a_policy_acts_alike_everywhere(trained_by: str, env_id: str, changes: dict[str, Any], tmp_path: Path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("jax")
    env = gymnasium.make_vec(env_id, num_envs=4, num_threads=1)
    cfg = replace(TINY, **changes)
    request = job(trained_by, replace(cfg, max_env_steps=128, evaluation_interval=0), env_id)
    run = request.create_run("", tmp_path / "run")
    train_run(run, Stopper())
    read = checkpoint.read(run.best_policy())
    observations = np.random.default_rng(0).standard_normal((64, *env.single_observation_space.shape))
    observations = observations.astype(np.float32)
    policy, rng = NumpyPolicy(read), np.random.default_rng
    noisy = policy.stochastic(observations, rng(1))
    assert np.abs(noisy - policy(observations)).max() > 1e-3
    for name in ("torch", "jax"):
        agent = fresh_agent(env, env_id, cfg, select(name), "cpu")
        select(name).load_network_state(agent, read.state)
        assert np.abs(policy(observations) - agent.policy(observations)).max() < 1e-6
        assert np.abs(noisy - agent.policy.stochastic(observations, rng(1))).max() < 1e-5
    assert command(["export", str(run.best_policy()), "--onnx", f"--output={tmp_path / 'policy.onnx'}"]) == 0
    session = runtime.InferenceSession(tmp_path / "policy.onnx")
    [actions] = session.run(["action"], {"observation": observations})
    assert np.abs(actions - policy(observations)).max() < 1e-5


@with_both
def test_a_policy_of_one_framework_starts_a_training_with_the_other(
    whole: Callable[[str], RunDirectory], name: str, tmp_path: Path
):
    before = checkpoint.read(whole(name).best_policy())
    other = {"torch": "jax", "jax": "torch"}[name]
    cfg = replace(TINY, max_env_steps=64, learning_rate=1e-12, polyak=1e-12, evaluation_interval=0)
    run = job(other, cfg, origin=InitFrom(before)).create_run("", tmp_path / "run")
    callback = Stopper()
    train_run(run, callback)
    assert callback.plan is not None
    assert callback.plan.transfer is not None
    assert callback.plan.transfer.skipped == ()
    after = checkpoint.read(run.best_policy())
    assert after.backend == other
    arrays = dict(leaves(after.state))
    for network in ("policy", "critic_1", "critic_2", "target_critic_1", "target_critic_2"):
        for path, array in leaves({network: before.state[network]}):
            assert arrays[path] == pytest.approx(array, abs=1e-6), path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 200, "memory_size": 100}, "batch_size 200 is more than the 100 transitions that memory_size"),
        ({"batch_size": 100, "memory_size": 400}, "batch_size 100 is more than the 64 .* give learning_starts 25"),
        ({"updates_per_env_step": 1e-6}, "no gradient step in an update: give updates_per_env_step"),
        ({"memory_size": 8}, "memory_size 8 is less than the 32 transitions of a rollout"),
        ({"mirror": "policy_and_value"}, "not possible with SAC: give mirror=policy"),
        ({"min_log_std": 3.0}, "min_log_std 3.0 is not below max_log_std 2.0"),
        ({"share_policy_value_features": True}, "unknown setting 'share_policy_value_features'"),
        ({"polyak": 0.0}, "polyak"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(changes: dict[str, Any], said: str):
    with pytest.raises(UsageError, match=said):
        schema.build(BaseRLCfg, to_json(TINY) | changes)


def test_an_unknown_algorithm_is_refused():
    with pytest.raises(UsageError, match="unknown algorithm 'saq'; did you mean 'sac'"):
        schema.build(BaseRLCfg, {"algorithm": "saq"})
    assert schema.build(BaseRLCfg, {}) == PPOCfg()
    assert schema.build(BaseRLCfg, to_json(TINY)) == TINY


def test_what_sac_cannot_do_is_refused(tmp_path: Path):
    env = SimpleNamespace(
        single_observation_space=gymnasium.spaces.Box(-1, 1, (2,)),
        single_action_space=gymnasium.spaces.Box(-np.inf, np.inf, (1,)),
        num_envs=2,
        spec=None,
        metadata={"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP},
    )
    cfg = replace(TINY, evaluation_interval=0)
    with pytest.raises(UsageError, match="the actions of A-v0 have no bounds"):
        fresh_agent(env, "A-v0", cfg, select("torch"), "cpu")  # pyright: ignore[reportArgumentType]
    env.single_action_space = gymnasium.spaces.Box(-1, 1, (1,))
    group = SimpleNamespace(size=2)
    with pytest.raises(UsageError, match="not possible with 2 workers"):
        fresh_agent(env, "A-v0", cfg, select("torch"), "cpu", group)  # pyright: ignore[reportArgumentType]


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    tiny = [f"--set={field}={getattr(TINY, field)}" for field in ("rollouts", "batch_size", "memory_size")]
    tiny += ["--num-envs=4", "--max-env-steps=200", "--set=check_point_interval=16", "--set=learning_starts=16"]
    train = ["train", "Motrix/Pendulum-v0", "--quiet", "--num-threads=1", "--backend=torch"]
    assert command([*train, "--algorithm=sac", "--run-dir=run", *tiny]) == 0
    capsys.readouterr()
    assert command(["evaluate", "run", "--episodes=2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 2
    assert command(["show", "Motrix/Pendulum-v0", "--algorithm=sac", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["algorithm"] == "sac"
    Path("own.toml").write_text("algorithm = 'sac'\nbatch_size = 64\n")
    assert command(["show", "Motrix/Pendulum-v0", "--config=own.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["batch_size"] == 64
    assert command([*train, "--run-dir=ppo", "--init-from=run", "--num-envs=8"]) == 2
    assert "one of SAC, which PPO cannot go on with" in capsys.readouterr().err
    assert command(["train", "Motrix/Pendulum-v0", "--algorithm=sac", "--set=rollouts=0"]) == 2
    assert command(["train", "Motrix/Pendulum-v0", "--algorithm=saq"]) == 2
    assert "unknown algorithm 'saq'" in capsys.readouterr().err
