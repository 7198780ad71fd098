"""Makes the agent of a training, and refuses environments that it cannot be trained in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode, VectorEnv

from motrix_train import env_protocol
from motrix_train.config import BaseRLCfg, SACCfg
from motrix_train.distributed import SINGLE_PROCESS, ProcessGroup
from motrix_train.errors import UsageError
from motrix_train.learning.agent import Agent
from motrix_train.learning.backend import Backend
from motrix_train.learning.symmetry import NetworkSymmetry


def fresh_agent(
    env: VectorEnv,
    env_id: str,
    cfg: BaseRLCfg,
    backend: Backend,
    device: str | None,
    group: ProcessGroup = SINGLE_PROCESS,
    replay: Path | None = None,
) -> Agent:
    """Makes an untrained agent for an environment in which it can be trained and evaluated.

    Args:
        env: The environment.
        env_id: Its id.
        cfg: How to train.
        backend: Torch or JAX.
        device: Of the networks.
        group: The processes of the training.
        replay: Folder of the files of a replay memory, None for none.

    Raises:
        UsageError: Environment, configuration and device do not go together.
    """
    if cfg.evaluation_interval and env_protocol.time_limit(env) is None:
        raise UsageError(f"{env_id} has no time limit, so it cannot be evaluated: give evaluation_interval=0")
    if env.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP:
        raise UsageError(
            f"{env_id} does not reset its environments in the step in which they end: make it with SAME_STEP"
        )
    if isinstance(cfg, SACCfg):
        _require_possible_with_sac(env, env_id, group)
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
        replay,
    )


def _require_possible_with_sac(env: VectorEnv, env_id: str, group: ProcessGroup) -> None:
    if not box(env.single_action_space).is_bounded():
        raise UsageError(
            f"SAC is not possible: the actions of {env_id} have no bounds, and its policy needs them; "
            "give --algorithm ppo"
        )
    if group.size > 1:
        raise UsageError(f"SAC is not possible with {group.size} workers: start one, or give --algorithm ppo")


def box(space: gymnasium.Space[Any]) -> gymnasium.spaces.Box:
    """The space, if it is one of vectors.

    Raises:
        UsageError: It is another one.
    """
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise UsageError(f"{space} cannot be trained: observations, actions and states must be vectors, Box(k,)")
    return space
