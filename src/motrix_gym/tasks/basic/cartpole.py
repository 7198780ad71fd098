"""CartPole: keep the pole of a driven cart upright."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from gymnasium import spaces

from motrix_gym.contact_pairs import load_for_simulation
from motrix_gym.random_streams import RandomStreams
from motrix_gym.reward_terms import reward_term
from motrix_gym.rewards import indicator
from motrix_gym.state import Array, PhysicsState, TaskState, Transition
from motrix_gym.task import Task

CART, HINGE = 0, 1


@dataclass(frozen=True, kw_only=True)
class CartPole(Task):
    """Keep the pole of a driven cart upright.

    A cart of 10.5 kg on a rail of 1 m to each side carries a pole of 5.0 kg on a hinge. The action, in [-3, 3],
    drives the cart with 100 N a unit. An episode starts near rest and upright, every coordinate uniform within
    `start_range`, and has 1000 steps of 10 ms.

    Observation:

    | index | block | quantity | unit |
    |---|---|---|---|
    | 0-1 | position | cart position, pole angle | m, rad |
    | 2-3 | velocity | cart velocity, pole rate | m/s, rad/s |

    Reward:

    Termination:

    | reason | condition |
    |---|---|
    | pole_fell | abs(pole angle) > `max_angle` |
    | cart_left | abs(cart position) > `max_position` |
    | diverged | the physics diverged |

    Attributes:
        start_range: Half width of the start distribution, m, rad, m/s and rad/s.
        max_angle: Pole angle that ends an episode, rad.
        max_position: Cart position that ends an episode, m.
    """

    control_dt: float = 0.01
    start_range: float = 0.01
    max_angle: float = 0.2
    max_position: float = 0.8

    def model(self) -> mujoco.MjModel:
        return load_for_simulation("cartpole.xml")

    def action_space(self) -> spaces.Box:
        return spaces.Box(-3.0, 3.0, (1,), np.float32)

    def reset(self, rng: RandomStreams) -> tuple[Array, Array, TaskState]:
        start = rng.uniform(-self.start_range, self.start_range, 4)
        return start[:, :2], start[:, 2:], TaskState()

    def control(self, physics: PhysicsState, state: TaskState, action: Array) -> Array:
        return action

    def observe(self, physics: PhysicsState, state: TaskState) -> dict[str, Array]:
        return {"position": physics.qpos, "velocity": physics.qvel}

    @reward_term(1.0)
    def reward_alive(self, t: Transition) -> Array:
        """1 unless the episode terminates in this step"""
        return indicator(~t.terminated)

    def terminated(self, t: Transition) -> dict[str, Array]:
        return {
            "pole_fell": abs(t.next_physics.qpos[:, HINGE]) > self.max_angle,
            "cart_left": abs(t.next_physics.qpos[:, CART]) > self.max_position,
        }

    def next_state(self, t: Transition, rng: RandomStreams) -> TaskState:
        return t.state
