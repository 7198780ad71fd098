"""The map from actions to the actuator signals of an environment, measured with random actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from gymnasium.vector import VectorEnv

STEPS = 125
RESIDUAL = 1e-9


@dataclass(frozen=True)
class Affine:
    """``ctrl = offset + gain @ action``."""

    gain: np.ndarray  # (nu, m)
    offset: np.ndarray  # (nu,)

    def __call__(self, actions: np.ndarray) -> np.ndarray:  # (N, m) -> (N, nu)
        return actions @ self.gain.T + self.offset


def find(env: VectorEnv, model: mujoco.MjModel) -> Affine | None:
    """The affine function from an action to ctrl, None if ctrl is no affine function of the action alone.

    Args:
        env: An environment of `motrix_gym` with a bounded action space; it is reset.
        model: Its model.
    """
    space: Any = env.action_space
    rng = np.random.default_rng(0)
    middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
    actions, ctrls = [], []
    env.reset(seed=0)
    for _ in range(STEPS):
        # Every other element is at its bound, so that a limit of the task has an effect.
        action = np.clip(middle + 2 * half * rng.uniform(-1, 1, space.shape), space.low, space.high)
        _, _, terminated, truncated, _ = env.step(action)
        goes_on = ~(terminated | truncated)  # an environment that began anew has no ctrl yet
        actions.append(action[goes_on])
        ctrls.append(_ctrl(env, model)[goes_on])
    return fit(np.concatenate(actions), np.concatenate(ctrls))


def fit(actions: np.ndarray, ctrls: np.ndarray) -> Affine | None:
    """The only affine function from actions (n, m) to ctrls (n, nu), None if there is none."""
    inputs = np.concatenate([actions, np.ones((len(actions), 1))], axis=1)
    solution, _, rank, _ = np.linalg.lstsq(inputs, ctrls)
    if rank < inputs.shape[1]:
        return None
    solution = solution.round(12) + 0.0  # without the noise of the fit, and without negative zeros
    affine = Affine(gain=solution[:-1].T, offset=solution[-1])
    return affine if np.abs(affine(actions) - ctrls).max() <= RESIDUAL * max(1.0, np.abs(ctrls).max()) else None


def _ctrl(env: VectorEnv, model: mujoco.MjModel) -> np.ndarray:
    """The actuator signals of each environment in the last step, (N, nu)."""
    unwrapped: Any = env.unwrapped
    ctrl = np.empty((env.num_envs, model.nu))
    whole, part = int(mujoco.mjtState.mjSTATE_INTEGRATION), int(mujoco.mjtState.mjSTATE_CTRL)
    for i, state in enumerate(unwrapped.get_state()["simulation"]):
        mujoco.mj_extractState(model, state, whole, ctrl[i], part)
    return ctrl
