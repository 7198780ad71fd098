"""What every process of test_distributed.py does: it trains with the others, and writes down what it saw.

<launcher> worker.py BACKEND DIRECTORY
"""

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
from motrix_train.distributed import ALONE, Place, Workers
from motrix_train.errors import EndedElsewhere, RunError, UsageError
from motrix_train.ppo.agent import Agent
from motrix_train.ppo.backend import select
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training import loop as training
from motrix_train.training.job import Job, assist, carry_out

KAPPA = 3


class Scribe:
    """Keeps the agent, the environment and the observations of this process in every training."""

    def __init__(self) -> None:
        self.session: Any = None
        begin, go_on = training._Session.begin, training._Session.go_on

        def watched_begin(session: Any, env_seed: int) -> None:
            begin(session, env_seed)
            self.session, self.first_observations = session, session._observations.copy()
            self.first_state = session._backend.agent_state(session._agent)

        def watched_go_on(session: Any, previous: Any) -> None:
            go_on(session, previous)
            self.session = session

        training._Session.begin, training._Session.go_on = watched_begin, watched_go_on

    @property
    def state(self) -> dict[str, Any]:
        return self.session._backend.agent_state(self.session._agent)


def main(name: str, directory: Path) -> None:
    place = Place.of()
    workers = Workers(place, select(name).connect(place))
    job = Job(
        env_id="Motrix/CartPole-v0", env_kwargs={}, backend=name, cfg=TINY, device="cpu", num_threads=0, workers=2
    )
    seen: dict[str, Any] = {"cpus": workers.cpus}
    scribe = Scribe()

    train(job, directory / "whole", workers)
    arrays = {f"first/{path}": value for path, value in checkpoint.leaves(scribe.first_state)}
    arrays |= {f"last/{path}": value for path, value in checkpoint.leaves(scribe.state)}
    arrays["observations"] = scribe.first_observations
    seen["threads"] = scribe.session._env.unwrapped.num_threads
    seen["mean_return"] = scribe.session._episodes.mean_return
    seen["episodes"] = scribe.session._episodes.count

    stop_after_updates(2, if_rank=1, workers=workers)
    train(job, directory / "resumed", workers)
    seen["updates before the stop"] = scribe.session._updates
    train(None, directory / "resumed", workers)
    arrays |= {f"resumed/{path}": value for path, value in checkpoint.leaves(scribe.state)}

    arrays |= pooled_scaler(name, workers)
    arrays |= learned_from_halves(name, workers)
    arrays["mean_gradient"] = mean_gradient(name, scribe.session._agent, workers.rank)

    stopper = replace(job, cfg=replace(TINY, kl_threshold=0.1))
    seen["mistake of all"] = how_it_ended(stopper, directory / "a", workers)
    make = environment.make
    if workers.rank == 1:
        environment.make = refuse
    seen["mistake of one"] = how_it_ended(job, directory / "b", workers)
    environment.make = make
    np.savez(directory / f"arrays{workers.rank}.npz", **arrays)
    (directory / f"seen{workers.rank}.json").write_text(json.dumps(seen))


def train(job: Job | None, path: Path, workers: Workers) -> None:
    """A new run, or with no job the rest of one."""
    if not workers.is_main:
        assist(workers)
        return
    carry_out(job.create_run("", path) if job else RunDirectory.open(path), Stopper(), workers=workers)


def stop_after_updates(updates: int, if_rank: int, workers: Workers) -> None:
    """One worker alone is asked to stop, amid the next rollout; the other hears of it from that one."""
    act, calls = Agent.act, 0

    def asked_to_stop(self: Agent, *seen: Any) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == updates * TINY.rollouts + 5:
            Agent.act = act
            signal.raise_signal(signal.SIGTERM)
        return act(self, *seen)

    if workers.rank == if_rank:
        Agent.act = asked_to_stop


def pooled_scaler(name: str, workers: Workers) -> dict[str, np.ndarray]:
    """The scalers of an agent after rows that differ between the workers."""
    spaces = gymnasium.spaces.Box(-9, 9, (KAPPA,)), gymnasium.spaces.Box(-1, 1, (2,))
    agent = select(name).make_agent(*spaces, TINY.num_envs, TINY, None, "cpu", workers, spaces[0])
    for rows in batches()[workers.rank]:
        agent.ppo._observation_preprocessor(agent._to_device(rows), train=True)
        agent.ppo._state_preprocessor(agent._to_device(rows[:, ::-1].copy()), train=True)
        agent.ppo._value_preprocessor(agent._to_device(rows[:, None, :1]), train=True)
    state = select(name).network_state(agent)
    scalers = {part: state[part] for part in state if part.endswith("_preprocessor")}
    return {f"scaler/{path}": value for path, value in checkpoint.leaves(scalers)}


def batches() -> np.ndarray:  # (workers, batches, rows, k) float32
    """The rows that each worker standardises."""
    shift = np.array([0.0, 5.0])[:, None, None, None]
    return (np.random.default_rng(1).normal(2.0, 3.0, (2, 4, 10, KAPPA)) + shift).astype(np.float32)


def learned_from_halves(name: str, workers: Workers) -> dict[str, np.ndarray]:
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
        "together": (workers, slice(workers.rank * half, (workers.rank + 1) * half)),
        "alone": (ALONE, slice(None)),
    }
    learned = {part: learned_from(name, *where) for part, where in parts.items()}
    setattr(ppo, compute, standardised)
    return {f"{part}/{path}": value for part, state in learned.items() for path, value in checkpoint.leaves(state)}


def learned_from(name: str, workers: Workers, rows: slice) -> dict[str, Any]:
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
    agent = chosen.make_agent(*spaces, cfg.num_envs, cfg, None, "cpu", workers)
    for step in range(steps):
        agent.act(observations[step])
        agent._actions = agent._to_device(actions[step])
        inputs = {"observations": agent.ppo._observation_preprocessor(agent._observations)}
        with agent._inference():
            _, outputs = agent.ppo.policy.act({**inputs, "taken_actions": agent._actions}, role="policy")
        agent.ppo._current_log_prob = outputs["log_prob"]
        agent.record(rewards[step], observations[step + 1], terminated[step], np.zeros_like(terminated[step]), {})
        agent.learn()
    return chosen.agent_state(agent)


def mean_gradient(name: str, agent: Agent, rank: int) -> np.ndarray:
    """What an update would use where every worker's gradient is its rank plus one."""
    if name == "jax":
        from motrix_train.ppo.jax.process_group import mean_of_all_workers

        return np.array(mean_of_all_workers({"weight": np.full((2, 3), rank + 1.0, np.float32)})["weight"])
    policy = agent.ppo.policy
    for parameter in policy.parameters():
        parameter.grad = parameter.detach() * 0 + rank + 1.0
    with agent._learning():
        policy.reduce_parameters()
    return np.unique(np.concatenate([parameter.grad.numpy().ravel() for parameter in policy.parameters()]))


def how_it_ended(job: Job, path: Path, workers: Workers) -> str:
    """The error of this worker."""
    try:
        train(job, path, workers)
    except (UsageError, RunError, EndedElsewhere) as error:
        return f"{type(error).__name__}: {error}"
    return "well"


def refuse(*args: Any, **kwargs: Any) -> None:
    raise UsageError("this machine has no such environment")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
