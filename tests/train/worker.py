"""What every process of test_distributed.py does: it trains with the others, and writes down what it saw.

<launcher> worker.py BACKEND DIRECTORY
"""

import atexit
import importlib
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from test_resume import TINY, Stopper

from motrix_train import environment
from motrix_train.distributed import SINGLE_PROCESS, ProcessGroup
from motrix_train.errors import EndedElsewhere, RunError, UsageError
from motrix_train.launcher import ProcessInfo
from motrix_train.learning.agent import Agent
from motrix_train.learning.backend import select
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.loop import TrainingLoop
from motrix_train.training.request import TrainRequest
from motrix_train.training.run import train_as_worker, train_run

KAPPA = 3


class Scribe:
    """Keeps the loop, the first agent and the first observations of this process in every training."""

    def __init__(self) -> None:
        self.loop: Any = None
        begin, resume = TrainingLoop.begin, TrainingLoop.resume

        def watched_begin(loop: Any, env_seed: int) -> None:
            begin(loop, env_seed)
            self.loop, self.first_observations = loop, loop.collector.observations.copy()
            self.first_state = loop._backend.agent_state(loop.agent)

        def watched_resume(loop: Any, resume_state: Any) -> None:
            resume(loop, resume_state)
            self.loop = loop

        TrainingLoop.begin, TrainingLoop.resume = watched_begin, watched_resume

    @property
    def state(self) -> dict[str, Any]:
        return self.loop._backend.agent_state(self.loop.agent)


def main(name: str, directory: Path) -> None:
    process = ProcessInfo.from_environ()
    atexit.register(write_threads, directory / f"threads{process.rank}.txt")  # after all that is registered later
    group = ProcessGroup(process, select(name).connect(process))
    job = TrainRequest(
        env_id="Motrix/CartPole-v0", env_kwargs={}, backend=name, cfg=TINY, device="cpu", num_threads=0, workers=2
    )
    seen: dict[str, Any] = {"cpus": group.cpus}
    scribe = Scribe()

    train(job, directory / "whole", group)
    arrays = {f"first/{path}": value for path, value in checkpoint.leaves(scribe.first_state)}
    arrays |= {f"last/{path}": value for path, value in checkpoint.leaves(scribe.state)}
    arrays["observations"] = scribe.first_observations
    seen["threads"] = scribe.loop.collector.env.unwrapped.num_threads
    seen["mean_return"] = scribe.loop.collector.episodes.mean_return
    seen["episodes"] = scribe.loop.collector.episodes.count

    stop_after_updates(2, if_rank=1, group=group)
    train(job, directory / "resumed", group)
    seen["updates before the stop"] = scribe.loop.updates
    train(None, directory / "resumed", group)
    arrays |= {f"resumed/{path}": value for path, value in checkpoint.leaves(scribe.state)}

    arrays |= pooled_scaler(name, group)
    arrays |= learned_from_halves(name, group)
    arrays["mean_gradient"] = mean_gradient(name, scribe.loop.agent, group.rank)

    stopper = replace(job, cfg=replace(TINY, kl_threshold=0.1))
    seen["mistake of all"] = how_it_ended(stopper, directory / "a", group)
    make = environment.make_env
    if group.rank == 1:
        environment.make_env = refuse
    seen["mistake of one"] = how_it_ended(job, directory / "b", group)
    environment.make_env = make
    np.savez(directory / f"arrays{group.rank}.npz", **arrays)
    (directory / f"seen{group.rank}.json").write_text(json.dumps(seen))


def write_threads(path: Path) -> None:
    """The names of the threads of this process, where Linux lists them."""
    path.write_text("".join(file.read_text() for file in Path("/proc/self/task").glob("*/comm")))


def train(job: TrainRequest | None, path: Path, group: ProcessGroup) -> None:
    """A new run, or with no job the rest of one."""
    if not group.is_main:
        train_as_worker(group)
        return
    train_run(job.create_run("", path) if job else RunDirectory.open(path), Stopper(), group=group)


def stop_after_updates(updates: int, if_rank: int, group: ProcessGroup) -> None:
    """One worker alone is asked to stop, amid the next rollout; the other hears of it from that one."""
    act, calls = Agent.act, 0

    def asked_to_stop(self: Agent, *seen: Any) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == updates * TINY.rollouts + 5:
            Agent.act = act
            signal.raise_signal(signal.SIGTERM)
        return act(self, *seen)

    if group.rank == if_rank:
        Agent.act = asked_to_stop


def pooled_scaler(name: str, group: ProcessGroup) -> dict[str, np.ndarray]:
    """The scalers of an agent after rows that differ between the group."""
    spaces = gymnasium.spaces.Box(-9, 9, (KAPPA,)), gymnasium.spaces.Box(-1, 1, (2,))
    agent = select(name).make_agent(*spaces, TINY.num_envs, TINY, None, "cpu", group, spaces[0])
    for rows in batches()[group.rank]:
        agent.skrl._observation_preprocessor(agent._to_device(rows), train=True)
        agent.skrl._state_preprocessor(agent._to_device(rows[:, ::-1].copy()), train=True)
        agent.skrl._value_preprocessor(agent._to_device(rows[:, None, :1]), train=True)
    state = select(name).network_state(agent)
    scalers = {part: state[part] for part in state if part.endswith("_normalizer")}
    return {f"scaler/{path}": value for path, value in checkpoint.leaves(scalers)}


def batches() -> np.ndarray:  # (workers, batches, rows, k) float32
    """The rows that each worker standardises."""
    shift = np.array([0.0, 5.0])[:, None, None, None]
    return (np.random.default_rng(1).normal(2.0, 3.0, (2, 4, 10, KAPPA)) + shift).astype(np.float32)


def learned_from_halves(name: str, group: ProcessGroup) -> dict[str, np.ndarray]:
    """The networks after three updates from half of the rows each, and after the same from all rows in one process.

    Advantages are left as they are here, since each worker standardises its own, and a mini-batch is the whole rollout.
    """
    ppo = importlib.import_module(f"skrl.agents.{name}.ppo.ppo")
    compute = "compute_gae" if name == "torch" else "_compute_gae"
    standardised = getattr(ppo, compute)

    def plain(**kwargs: Any) -> Any:
        returns, _ = standardised(**kwargs)
        return returns, returns - kwargs["values"]

    setattr(ppo, compute, plain)
    half = TINY.num_envs
    parts = {
        "together": (group, slice(group.rank * half, (group.rank + 1) * half)),
        "alone": (SINGLE_PROCESS, slice(None)),
    }
    learned = {part: learned_from(name, *where) for part, where in parts.items()}
    setattr(ppo, compute, standardised)
    return {f"{part}/{path}": value for part, state in learned.items() for path, value in checkpoint.leaves(state)}


def learned_from(name: str, group: ProcessGroup, rows: slice) -> dict[str, Any]:
    """The state of an agent after three updates from the same transitions of some rows."""
    chosen, steps, every = select(name), 3 * TINY.rollouts, 2 * TINY.num_envs
    rng = np.random.default_rng(2)
    observations = rng.normal(1.0, 2.0, (steps + 1, every, KAPPA)).astype(np.float32)[:, rows]
    actions = rng.normal(0.0, 1.0, (steps, every, 2)).astype(np.float32)[:, rows]
    rewards = rng.normal(1.0, 1.0, (steps, every))[:, rows] + observations[:-1, :, 0]
    terminated = rng.random((steps, every))[:, rows] < 0.1
    spaces = gymnasium.spaces.Box(-9, 9, (KAPPA,)), gymnasium.spaces.Box(-1, 1, (2,))
    chosen.seed_everything(4)
    cfg = replace(TINY, num_envs=observations.shape[1], mini_batches=1)
    agent = chosen.make_agent(*spaces, cfg.num_envs, cfg, None, "cpu", group)
    for step in range(steps):
        agent.act(observations[step])
        agent._actions = agent._to_device(actions[step])
        inputs = {"observations": agent.skrl._observation_preprocessor(agent._observations)}
        with agent._inference():
            _, outputs = agent.skrl.policy.act({**inputs, "taken_actions": agent._actions}, role="policy")
        agent.skrl._current_log_prob = outputs["log_prob"]
        agent.record(rewards[step], observations[step + 1], terminated[step], np.zeros_like(terminated[step]), {})
        agent.learn()
    return chosen.agent_state(agent)


def mean_gradient(name: str, agent: Agent, rank: int) -> np.ndarray:
    """What an update would use where every worker's gradient is its rank plus one."""
    if name == "jax":
        from motrix_train.learning.jax.process_group import mean_of_all_workers

        return np.array(mean_of_all_workers({"weight": np.full((2, 3), rank + 1.0, np.float32)})["weight"])
    policy = agent.skrl.policy
    for parameter in policy.parameters():
        parameter.grad = parameter.detach() * 0 + rank + 1.0
    with agent._averaging():
        policy.reduce_parameters()
    return np.unique(np.concatenate([parameter.grad.numpy().ravel() for parameter in policy.parameters()]))


def how_it_ended(job: TrainRequest, path: Path, group: ProcessGroup) -> str:
    """The error of this worker."""
    try:
        train(job, path, group)
    except (UsageError, RunError, EndedElsewhere) as error:
        return f"{type(error).__name__}: {error}"
    return "well"


def refuse(*args: Any, **kwargs: Any) -> None:
    raise UsageError("this machine has no such environment")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
