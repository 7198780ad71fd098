"""Makes the agent of a training, and refuses environments that it cannot be trained in."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode, VectorEnv

from motrix_train import env_protocol
from motrix_train.config import PPOCfg
from motrix_train.distributed import SINGLE_PROCESS, ProcessGroup
from motrix_train.errors import UsageError
from motrix_train.ppo.agent import Agent
from motrix_train.ppo.backend import Backend
from motrix_train.ppo.symmetry import NetworkSymmetry


def fresh_agent(
    env: VectorEnv,
    env_id: str,
    cfg: PPOCfg,
    backend: Backend,
    device: str | None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Agent:
    """Makes an untrained agent for an environment in which it can be trained and evaluated.

    Raises:
        UsageError: Environment, configuration and device do not go together.
    """
    if cfg.evaluation_interval and env_protocol.time_limit(env) is None:
        raise UsageError(f"{env_id} has no time limit, so it cannot be evaluated: give evaluation_interval=0")
    if env.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP:
        raise UsageError(
            f"{env_id} does not reset its environments in the step in which they end: make it with SAME_STEP"
        )
    symmetry = NetworkSymmetry.of(env) if cfg.mirror != "none" else None
    if cfg.mirror != "none" and symmetry is None:
        raise UsageError(f"mirror {cfg.mirror!r} is not possible: {env_id} has no mirror image; give mirror=none")
    state_space = env_protocol.state_space(env) if cfg.critic == "state" else None
    if cfg.critic == "state" and state_space is None:
        raise UsageError(
            f"critic 'state' is not possible: {env_id} has no state beside its observations; give critic=observation"
        )
    return backend.make_agent(
        box(env.single_observation_space),
        box(env.single_action_space),
        env.num_envs,
        cfg,
        symmetry,
        device,
        group,
        None if state_space is None else box(state_space),
    )


def box(space: gymnasium.Space[Any]) -> gymnasium.spaces.Box:
    """The space, if it is one of vectors.

    Raises:
        UsageError: It is another one.
    """
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise UsageError(f"{space} cannot be trained: observations, actions and states must be vectors, Box(k,)")
    return space
