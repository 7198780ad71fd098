"""Where the cheetah begins, taken apart: settling 10 000 of them on either side would take half a minute.

Whole beginnings are compared in `test_parity`, on fewer.
"""

from dataclasses import replace

import numpy as np
from oracle import SEED, SMALLEST_P, Counterpart, Pair, largest_error, two_sample_p

from motrix_gym.random_streams import RandomStreams, stream_keys
from motrix_gym.tasks.basic.cheetah import JOINTS, Cheetah
from motrix_gym.vector_env import MotrixVectorEnv

CHEETAH = Counterpart("Motrix/CheetahRun-v0", "cheetah", "run", touches=True, resets=10_000)


class Told:
    """A source of dm_control's random numbers that gives those it was told, one array a call."""

    def __init__(self, numbers: np.ndarray):
        self._numbers = iter(numbers)

    def uniform(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        numbers = next(self._numbers)
        assert (low <= numbers).all()
        assert (numbers <= high).all()
        return numbers


def test_what_is_drawn_and_the_first_step_from_it_have_one_distribution(monkeypatch):
    pair = Pair(CHEETAH)
    monkeypatch.setattr(Cheetah, "SETTLING_TIME", 0.0)
    step = pair.reference.physics.step
    monkeypatch.setattr(pair.reference.physics, "step", lambda nstep: step(1))
    assert two_sample_p(pair.our_starts(), pair.their_starts()) > SMALLEST_P


def test_the_same_draw_settles_to_the_same_beginning():
    pair = Pair(replace(CHEETAH, resets=200))
    drawn, _, _ = pair.task.reset(RandomStreams(stream_keys(range(SEED, SEED + 200))))
    envs = MotrixVectorEnv(pair.task, 200, num_threads=1)
    envs.reset(seed=SEED)
    state = envs.get_state()
    ours = np.concatenate([state["qpos"], state["qvel"]], axis=1)
    pair.reference.task._random = Told(drawn[:, JOINTS])
    theirs = pair.their_starts()[:, : ours.shape[1]]
    assert largest_error(ours, theirs) < 1e-8
    assert (np.ptp(theirs, axis=0) > 0.01).all()
