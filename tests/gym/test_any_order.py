"""Whatever is done to a batch, in whatever order: each of its environments is the one that is alone, bit for bit."""

import copy
import pickle
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from motrix_gym.rendering import EnvRenderer, RenderingUnavailable
from motrix_gym.vector_env import MotrixVectorEnv

MOST = 4  # environments
SEED = st.integers(0, 2**63 - 1)
MASK = st.lists(st.booleans(), min_size=MOST, max_size=MOST)
WHERE = st.integers(0, 99)
CHANCE = st.integers(0, 2**31)
WAYS = {"pickle": lambda env: pickle.loads(pickle.dumps(env)), "deepcopy": copy.deepcopy}

IDS = {  # what each has beside one model and physics
    "Motrix/CartPole-v0": {},  # episodes that end by failure
    "Motrix/FingerTurnEasy-v0": {},  # a target in the model of each environment
    "Motrix/Go1-v0": {  # a memory, and random numbers in every step
        "history": 2,
        "push_speed": 0.5,
        "friction": (0.5, 1.25),
        "action_delay": (0, 2),
        "observation_noise": {"gravity": 0.05},
    },
    "Motrix/MultiTask-v0": {},  # two tasks, as the seed says
}


DRAWN = ("Motrix/CartPole-v0", "Motrix/FingerTurnEasy-v0")  # the pictures of a legged robot take longer than all else


class AnyOrder(RuleBasedStateMachine):
    """A batch of N environments, and N batches of one that are treated alike.

    Args:
        env_id: Of which environments.
        draws: Whether pictures can be drawn here.
    """

    saved = Bundle("saved")

    def __init__(self, env_id: str, draws: bool):
        super().__init__()
        self.env_id, self.draws = env_id, draws

    @initialize(
        num_envs=st.integers(1, MOST),
        mode=st.sampled_from(list(AutoresetMode)),
        limit=st.integers(2, 9),
        seed=SEED,
        threads=st.integers(1, 3),
    )
    def begin(self, num_envs: int, mode: AutoresetMode, limit: int, seed: int, threads: int):
        self.num_envs, self.mode, self.limit = num_envs, mode, limit
        self.batch = self.made(num_envs, threads)
        self.alone = [self.made(1, 1) for _ in range(num_envs)]
        self.ended = np.zeros(num_envs, dtype=bool)
        self.begun(self.batch.reset(seed=seed), [env.reset(seed=seed + i) for i, env in enumerate(self.alone)])

    @precondition(lambda self: not self.must_be_reset())
    @rule(chance=CHANCE)
    def step(self, chance: int):
        actions = self.actions(chance)
        observations, rewards, terminated, truncated, info = self.batch.step(actions)
        for i, env in enumerate(self.alone):
            own = env.step(actions[i : i + 1])
            found = (observations[i], rewards[i], terminated[i], truncated[i], told(info, i))
            np.testing.assert_equal(found, (*(x[0] for x in own[:4]), told(own[4], 0)))
        self.ended = terminated | truncated

    @precondition(lambda self: self.must_be_reset())
    @rule(chance=CHANCE)
    def step_too_far(self, chance: int):
        with pytest.raises(gymnasium.error.ResetNeeded, match="have ended"):
            self.batch.step(self.actions(chance))

    @rule(mask=MASK, seed=st.none() | SEED | st.lists(st.none() | SEED, min_size=MOST, max_size=MOST))
    def reset_some(self, mask: list[bool], seed: int | list[int | None] | None):
        seeds = seed[: self.num_envs] if isinstance(seed, list) else seed
        marked = np.array(mask[: self.num_envs])
        assume(marked.any())
        observations, info = self.batch.reset(seed=seeds, options={"reset_mask": marked})
        for i in np.flatnonzero(marked):
            own = seeds[i] if isinstance(seeds, list) else None if seeds is None else seeds + int(i)
            np.testing.assert_array_equal(observations[i], self.alone[i].reset(seed=own)[0][0])
        assert info == {}
        self.ended &= ~marked

    @precondition(lambda self: self.ended.any())
    @rule()
    def reset_what_has_ended(self):
        self.reset_some(self.ended.tolist(), None)

    @rule(target=saved)
    def save(self) -> Any:
        return self.batch.get_state(), [env.get_state() for env in self.alone], self.ended.copy()

    @rule(saved=saved)
    def restore(self, saved: Any):
        together, alone, ended = saved
        observations = self.batch.set_state(together)
        for i, env in enumerate(self.alone):
            np.testing.assert_array_equal(observations[i], env.set_state(alone[i])[0])
        self.ended = ended.copy()

    @rule(way=st.sampled_from(sorted(WAYS)), chance=CHANCE, copy_goes_on=st.booleans())
    def copy(self, way: str, chance: int, copy_goes_on: bool):
        kept, other = self.batch, WAYS[way](self.batch)
        if copy_goes_on:
            kept, other = other, kept
        other.reset(seed=chance)
        other.step(self.actions(chance))
        other.close()
        self.batch = kept

    @precondition(lambda self: self.draws)
    @rule(where=WHERE)
    def draw(self, where: int):
        i = where % self.num_envs
        [found], [expected] = self.batch.render_envs([i]), self.alone[i].render_envs([0])
        np.testing.assert_allclose(found.astype(int), expected, atol=1)  # OpenGL may round otherwise

    @rule(threads=st.integers(1, 3), times=st.integers(1, 2))
    def close_and_make_anew(self, threads: int, times: int):
        states = [env.get_state() for env in (self.batch, *self.alone)]
        for env in (*self.alone, *[self.batch] * times):
            env.close()
        self.batch, self.alone = self.made(self.num_envs, threads), [self.made(1, 1) for _ in self.alone]
        for env, state in zip((self.batch, *self.alone), states, strict=True):
            env.set_state(state)

    @invariant()
    def seeds_are_alike(self):
        assert self.batch.np_random_seed == tuple(seed for env in self.alone for seed in env.np_random_seed)

    @invariant()
    def states_are_alike(self):
        together = self.batch.get_state()
        for i, env in enumerate(self.alone):
            for name, x in env.get_state().items():
                np.testing.assert_array_equal(together[name][i], x[0], err_msg=name)

    def teardown(self):
        for env in (self.batch, *self.alone) if hasattr(self, "alone") else ():
            env.close()

    def made(self, num_envs: int, threads: int) -> MotrixVectorEnv:
        """Such environments, before their first episode."""
        return gymnasium.make_vec(
            self.env_id,
            num_envs=num_envs,
            num_threads=threads,
            max_episode_steps=self.limit,
            autoreset_mode=self.mode,
            render_mode="rgb_array",
            render_size=(32, 24),
            **IDS[self.env_id],
        ).unwrapped

    def begun(self, together: tuple, alone: list[tuple]) -> None:
        for i, (observations, _) in enumerate(alone):
            np.testing.assert_array_equal(together[0][i], observations[0])

    def must_be_reset(self) -> bool:
        """Whether the next step is refused."""
        return self.mode is AutoresetMode.DISABLED and self.ended.any()

    def actions(self, chance: int) -> np.ndarray:
        """Random actions, some of them outside of the space."""
        space = self.batch.single_action_space
        unit = np.random.default_rng(chance).uniform(-0.1, 1.1, (self.num_envs, *space.shape))
        return space.low + (space.high - space.low) * unit


def told(info: dict[str, Any], row: int) -> dict[str, Any]:
    """What an info says of one environment, which is what its masks leave."""
    names = [name for name in info if name[0] != "_" and (f"_{name}" not in info or info[f"_{name}"][row])]
    return {name: told(info[name], row) if isinstance(info[name], dict) else info[name][row] for name in names}


@pytest.fixture(scope="module")
def draws() -> bool:
    """Whether pictures can be drawn here."""
    try:
        EnvRenderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 32, 24).close()
    except RenderingUnavailable:
        return False
    return True


@pytest.mark.parametrize("env_id", IDS)
def test_each_environment_is_the_one_that_is_alone(env_id, draws):
    run_state_machine_as_test(
        lambda: AnyOrder(env_id, draws and env_id in DRAWN), settings=settings(max_examples=10, stateful_step_count=20)
    )
