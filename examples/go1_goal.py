"""Walk to a goal: a task over a walking policy that is trained already and stays as it is.

A policy that walks comes first, then one that steers it. The id's module is found through `PYTHONPATH`.

    motrix-train train Motrix/Go1-v0 --run-dir runs/walk
    export PYTHONPATH=examples
    motrix-train train go1_goal:Example/Go1Goal-v0 --env policy=runs/walk/checkpoints/best.safetensors \\
        --num-envs 64 --max-env-steps 100000 --set initial_log_std=-0.5 --set learning_rate=1e-3 --run-dir runs/goal
    motrix-train evaluate runs/goal
    motrix-train play runs/goal --video goal.mp4 --num-envs 4
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from motrix_gym import Flip, Mirror, MotrixVectorEnv, PhysicsState, RandomStreams, Transition
from motrix_gym.fields import configured
from motrix_gym.hierarchy import HierarchicalVectorEnv
from motrix_gym.state import Array
from motrix_gym.tasks.locomotion.velocity import Go1, VelocityState
from motrix_train import load_policy

WALKING_ID = "Motrix/Go1-v0"
PLANAR = slice(0, 2)
QUATERNION = slice(3, 7)


@dataclass(frozen=True)
class GoalState(VelocityState):
    """What the goal task remembers beside the command.

    Attributes:
        goal: Where to, (N, 2) m in the world.
    """

    goal: Array


@dataclass(frozen=True, kw_only=True)
class Go1Goal(Go1):
    """A Unitree Go1 walks to a goal on flat ground.

    The robot and its fields are those of `Go1`. The command is zero when an episode begins, and then what is put
    into the memory.

    Observation: the blocks of `Go1`, then

    | index | block | quantity | unit |
    |---|---|---|---|
    | 50-51 | goal | position of the goal, forward and leftward of the robot | m |

    Reward:

    | term | formula | weight |
    |---|---|---|
    | progress | how much nearer the step came to the goal, m | 1.0 |
    | arrival | 1 in the step that arrives | 3.0 |
    | fall | 1 in a step that terminates otherwise | -3.0 |

    Termination: the reasons of `Go1`, and

    | reason | condition |
    |---|---|
    | arrived | the goal is nearer than `arrival_radius` |

    Attributes:
        goal_distance: Least and greatest distance of a goal at the start, m.
        arrival_radius: Distance from the goal that counts as there, m.
    """

    WEIGHTS: ClassVar = {"progress": 1.0, "arrival": 3.0, "fall": -3.0}
    goal_distance: tuple[float, float] = (1.5, 4.0)
    arrival_radius: float = 0.3

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, GoalState]:
        qpos, qvel, task_state = super().reset(rng)
        unit = rng.uniform(size=2)
        nearest, farthest = self.goal_distance
        distance, bearing = nearest + (farthest - nearest) * unit[:, 0], 2 * np.pi * unit[:, 1]
        offset = distance[:, None] * np.stack([np.cos(bearing), np.sin(bearing)], axis=1)
        still = replace(task_state, command=np.zeros_like(task_state.command), command_left=np.full(len(rng), np.inf))
        return qpos, qvel, GoalState(**vars(still), goal=qpos[:, PLANAR] + offset)

    def observe(self, physics: PhysicsState, state: Any) -> dict[str, Array]:  # of a GoalState
        return super().observe(physics, state) | {"goal": seen_from(physics.qpos, state.goal)}

    def reward(self, t: Transition) -> dict[str, Array]:
        arrived = self._arrived(t)
        return {
            "progress": self._distance(t.physics, t.state) - self._distance(t.next_physics, t.state),
            "arrival": 1.0 * arrived,
            "fall": 1.0 * (t.terminated & ~arrived),
        }

    def terminated(self, t: Transition) -> dict[str, Array]:
        return super().terminated(t) | {"arrived": self._arrived(t)}

    def metrics(self, t: Transition) -> dict[str, Array]:
        return super().metrics(t) | {"distance": self._distance(t.next_physics, t.state)}

    def mirror(self) -> Mirror:
        mirror, goal = super().mirror(), Flip.signs(1, -1)
        assert mirror is not None, "a Go1 is symmetric"
        return replace(
            mirror,
            blocks={**mirror.blocks, "goal": goal},
            state=lambda state: replace(mirror.state(state), goal=goal(state.goal)),
        )

    def _distance(self, physics: PhysicsState, task_state: GoalState) -> Array:  # (N,) m
        return np.linalg.norm(task_state.goal - physics.qpos[:, PLANAR], axis=1)

    def _arrived(self, t: Transition) -> Array:  # (N,) bool
        return self._distance(t.next_physics, t.state) < self.arrival_radius


def seen_from(qpos: Array, goal: Array) -> Array:
    """A point of the world, (N, 2) m, forward and leftward of a robot at `qpos`, (N, 2) m."""
    w, x, y, z = qpos[:, QUATERNION].T
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y**2 + z**2))
    dx, dy = (goal - qpos[:, PLANAR]).T
    return np.stack([np.cos(yaw) * dx + np.sin(yaw) * dy, np.cos(yaw) * dy - np.sin(yaw) * dx], axis=1)


def make_vector(
    num_envs: int = 1,
    *,
    policy: str | None = None,
    hold: int = 10,
    max_episode_steps: int = 100,
    num_threads: int = 0,
    autoreset_mode: str = "SameStep",
    render_mode: str | None = None,
    render_size: tuple[int, int] = (480, 360),
    **fields: Any,
) -> HierarchicalVectorEnv:
    """The goal task over a walking policy; its action is a velocity command within the ranges walked in training.

    Args:
        num_envs: Number of environments.
        policy: The walking policy, a checkpoint of `Motrix/Go1-v0`.
        hold: Control steps of 20 ms that a command is held for.
        max_episode_steps: The time limit in commands.
        num_threads: As in `MotrixVectorEnv`, like what follows.
        autoreset_mode: A `gymnasium.vector.AutoresetMode`.
        render_mode: None or "rgb_array".
        render_size: Pixels.
        fields: Fields of `Go1Goal`; those that the walking policy was trained with hold unless given here.
    """
    if policy is None:
        raise ValueError(f"there is no policy to walk with; give policy=..., a checkpoint of {WALKING_ID}")
    low_level = load_policy(policy)
    walking = low_level.checkpoint
    walking.require_environment(WALKING_ID)
    trained_with = {name: value for name, value in walking.env_kwargs.items() if name != "reward_weights"}
    if trained_with.get("observed") is not None:
        trained_with["observed"] = [*trained_with["observed"], "goal"]
    task = configured(Go1Goal, {**trained_with, **fields})
    env = MotrixVectorEnv(
        task,
        num_envs,
        max_episode_steps=hold * max_episode_steps,
        num_threads=num_threads,
        autoreset_mode=autoreset_mode,
        render_mode=render_mode,
        render_size=render_size,
    )
    return HierarchicalVectorEnv(
        env,
        low_level,
        hold=hold,
        command_space=Box(np.array(task.command_low, np.float32), np.array(task.command_high, np.float32)),
        blocks=[name for name in env.observation_blocks if name != "goal"],
    )


gymnasium.register("Example/Go1Goal-v0", vector_entry_point=f"{__name__}:make_vector", max_episode_steps=100)
