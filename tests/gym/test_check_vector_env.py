"""`check_vector_env` passes what keeps the laws and catches, for each law, environments that break just that one."""

import dataclasses
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from motrix_gym.tasks.basic.cartpole import CartPole
from motrix_gym.testing import LAWS, LawViolation, check_vector_env
from motrix_gym.vector_env import MotrixVectorEnv

SAME, NEXT, DISABLED = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED
BREAKS: list[tuple[str, type[MotrixVectorEnv], AutoresetMode]] = []


def breaks(law: str, mode: AutoresetMode = SAME) -> Callable[[type[MotrixVectorEnv]], type[MotrixVectorEnv]]:
    """Marks an environment that breaks a law and no law that is checked before it."""

    def marked(broken: type[MotrixVectorEnv]) -> type[MotrixVectorEnv]:
        BREAKS.append((law, broken, mode))
        return broken

    return marked


class Changed(MotrixVectorEnv):
    """An environment whose results pass through `changed` before they are returned."""

    def step(self, actions: np.ndarray) -> tuple:
        return self.changed(*super().step(actions))

    def changed(self, observation, reward, terminated, truncated, info) -> tuple:
        return observation, reward, terminated, truncated, info


@breaks("spaces")
class DoublePrecision(Changed):
    def changed(self, observation, *rest):
        return observation.astype(np.float64), *rest


@breaks("spaces")
class InfiniteObservation(Changed):
    def changed(self, observation, *rest):
        return np.where(observation > 0.02, np.float32(np.inf), observation), *rest


@breaks("spaces")
class InfiniteReward(Changed):
    def changed(self, observation, reward, *rest):
        return observation, np.where(rest[0], -np.inf, reward), *rest


@breaks("spaces")
class FlagsAreNumbers(Changed):
    def changed(self, observation, reward, terminated, truncated, info):
        return observation, reward, terminated.astype(int), truncated, info


@breaks("spaces")
class OneRewardTooFew(Changed):
    def changed(self, observation, reward, *rest):
        return observation, reward[:-1], *rest


@breaks("spaces")
class InfiniteFinalObservation(Changed):
    def changed(self, *result):
        if "final_obs" in result[4]:
            result[4]["final_obs"] = np.full_like(result[4]["final_obs"], np.inf)
        return result


@breaks("determinism")
class UnseededNoise(Changed):
    def changed(self, observation, *rest):
        return observation + np.random.default_rng().normal(size=observation.shape).astype(np.float32), *rest


@breaks("determinism")
class TheSecondEpisodeIsNotSeeded(MotrixVectorEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=np.random.default_rng().integers(2**40) if seed is None else seed, options=options)


@breaks("seeds")
class OneSeedForAllRows(MotrixVectorEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=[seed] * self.num_envs if isinstance(seed, int) else seed, options=options)


@breaks("endings")
class DoneIsDone(Changed):
    def changed(self, observation, reward, terminated, truncated, info):
        return observation, reward, terminated, truncated | terminated, info


@breaks("autoreset")
class AnotherModeThanDeclared(MotrixVectorEnv):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.metadata["autoreset_mode"] = NEXT


@breaks("autoreset")
class UndeclaredMode(MotrixVectorEnv):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.metadata["autoreset_mode"] = "SameStep"


@breaks("autoreset")
class FinalObservationOverwritten(Changed):
    def changed(self, observation, *rest):
        if "final_obs" in rest[-1]:
            rest[-1]["final_obs"] = observation.copy()
        return observation, *rest


@breaks("autoreset")
class NoFinalObservation(Changed):
    def changed(self, *result):
        for name in ("final_obs", "_final_obs"):
            result[4].pop(name, None)
        return result


@breaks("autoreset")
class NoFinalInfo(Changed):
    def changed(self, *result):
        for name in ("final_info", "_final_info"):
            result[4].pop(name, None)
        return result


@breaks("autoreset", NEXT)
class RewardedForTheReset(Changed):
    def changed(self, observation, reward, *rest):
        return observation, reward + 1, *rest


@breaks("autoreset", NEXT)
class TheActionOfTheResetCounts(MotrixVectorEnv):
    def step(self, actions):
        waiting = self.batch.ended
        observation, *rest = super().step(actions)
        return observation + 0.01 * (waiting[:, None] * actions).astype(np.float32), *rest


@breaks("autoreset", DISABLED)
class StepsOnAfterTheEnd(MotrixVectorEnv):
    def step(self, actions):
        self.batch.state = dataclasses.replace(self.batch.state, ended=np.zeros(self.num_envs, dtype=bool))
        return super().step(actions)


@breaks("ownership")
class OneBufferForObservations(Changed):
    def changed(self, observation, *rest):
        self.buffer = getattr(self, "buffer", np.empty_like(observation))
        self.buffer[:] = observation
        return self.buffer, *rest


@breaks("ownership")
class OneBufferForFinalObservations(Changed):
    def changed(self, *result):
        if "final_obs" in result[4]:
            self.buffer = getattr(self, "buffer", np.empty_like(result[0]))
            self.buffer[:] = result[4]["final_obs"]
            result[4]["final_obs"] = self.buffer
        return result


@breaks("ownership")
class ClipsTheCallersActions(MotrixVectorEnv):
    def step(self, actions):
        np.clip(actions, -1, 1, out=actions)
        return super().step(actions)


@breaks("ownership")
class RemembersWhatItReturned(Changed):
    def reset(self, *, seed=None, options=None):
        self.last, info = super().reset(seed=seed, options=options)
        return self.last, info

    def changed(self, observation, *rest):
        self.last = (observation + self.last) / 2
        return self.last, *rest


@breaks("reset_mask")
class IgnoresTheMask(MotrixVectorEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)


@breaks("reset_mask")
class ResetsNothing(MotrixVectorEnv):
    def reset(self, *, seed=None, options=None):
        if seed is None and options is not None:
            return self.batch.observe(), {}
        return super().reset(seed=seed, options=options)


@breaks("reset_mask")
class SeedsTheOthersToo(MotrixVectorEnv):
    def reset(self, *, seed=None, options=None):
        result = super().reset(seed=seed, options=options)
        if seed is not None:
            self._seed(seed, np.ones(self.num_envs, dtype=bool))
        return result


@breaks("reward_terms")
class UnweightedTerms(Changed):
    def changed(self, observation, reward, terminated, truncated, info):
        return observation, 2.0 * reward, terminated, truncated, info


@breaks("termination")
class EndsForNoReason(Changed):
    def changed(self, *result):
        result[4]["termination"].pop("pole_fell")
        return result


@breaks("termination")
class AReasonButNoEnd(Changed):
    def changed(self, *result):
        result[4]["termination"]["late"] = self.batch.state.elapsed > 5
        return result


@breaks("independence")
class SharedReward(Changed):
    def changed(self, observation, reward, terminated, truncated, info):
        shared = np.full(self.num_envs, np.abs(observation).mean(dtype=np.float64))
        info["reward_terms"]["shared"] = shared
        return observation, reward + shared, terminated, truncated, info


@breaks("position")
class KnowsItsRow(Changed):
    def changed(self, observation, *rest):
        return observation + np.arange(self.num_envs, dtype=np.float32)[:, None], *rest


@breaks("number")
class KnowsTheNumberOfRows(Changed):
    def changed(self, observation, *rest):
        return observation + np.float32(self.num_envs), *rest


@breaks("state")
class ForgetsTheRandomStream(MotrixVectorEnv):
    def set_state(self, state):
        return super().set_state({**state, "counter": self.batch.state.rng.counter.copy()})


@breaks("state")
class ForgetsTheTime(MotrixVectorEnv):
    def set_state(self, state):
        return super().set_state({**state, "elapsed": np.zeros_like(state["elapsed"])})


@breaks("state")
class SavesViews(MotrixVectorEnv):
    def get_state(self):
        return {**super().get_state(), "simulation": self.batch.physics._batch.state}


@breaks("state")
class SavingDrawsANumber(MotrixVectorEnv):
    def get_state(self):
        self.batch.state.rng.words(1)
        return super().get_state()


@breaks("single")
class StartsElsewhere(MotrixVectorEnv):
    def __init__(self, task, *args: Any, **kwargs: Any):
        super().__init__(CartPole(start_range=0.02), *args, **kwargs)


@breaks("bad_actions")
class ForgivesNaN(MotrixVectorEnv):
    def step(self, actions):
        return super().step(np.nan_to_num(actions))


@breaks("bad_actions")
class ForgivesAnyShape(MotrixVectorEnv):
    def step(self, actions):
        return super().step(actions[: self.num_envs])


def check(broken: type[MotrixVectorEnv], mode: AutoresetMode):
    """Checks an environment of short episodes, of which some terminate and some are cut off."""
    return check_vector_env(
        lambda n: broken(CartPole(), n, max_episode_steps=25, num_threads=1, autoreset_mode=mode),
        single=lambda: gymnasium.make("Motrix/CartPole-v0", max_episode_steps=25),
        steps=80,
    )


@pytest.mark.parametrize(("law", "broken", "mode"), BREAKS, ids=lambda x: getattr(x, "__name__", None))
def test_a_broken_law_is_found_and_named(law, broken, mode):
    with pytest.raises(LawViolation) as caught:
        check(broken, mode)
    assert caught.value.law == law
    assert str(caught.value).startswith(f"{law}: {LAWS[law]}\n")


def test_every_law_has_an_environment_that_breaks_it():
    assert {law for law, _, _ in BREAKS} == set(LAWS)


def test_episodes_terminate_and_truncate_in_what_is_checked():
    envs = MotrixVectorEnv(CartPole(), 4, max_episode_steps=25, num_threads=1)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    ends = [envs.step(envs.action_space.sample())[2:4] for _ in range(80)]
    assert any(terminated.any() for terminated, _ in ends)
    assert any(truncated.any() for _, truncated in ends)


def test_what_keeps_the_laws_passes_all_of_them(mode):
    report = check(MotrixVectorEnv, mode)
    assert report.checked == tuple(LAWS)
    assert report.skipped == {}


def test_gymnasiums_own_vector_environment_passes_what_it_offers(mode):
    envs = gymnasium.make_vec(
        "CartPole-v1", num_envs=3, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}
    )
    report = check_vector_env(envs)
    assert report.skipped.keys() == {"reward_terms", "termination", "number", "state", "single"}
    assert "get_state" in report.skipped["state"]
    assert not envs.closed


def test_a_real_environment_whose_rows_share_random_numbers_is_caught():
    envs = gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="vector_entry_point")
    with pytest.raises(LawViolation, match="independence"):
        check_vector_env(envs)


def test_single_environments_stepped_by_gymnasium_pass(mode):
    def make(num_envs: int):
        return gymnasium.make_vec(
            "Motrix/CartPole-v0",
            num_envs=num_envs,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": mode},
            max_episode_steps=45,
        )

    assert check_vector_env(make, steps=80).skipped.keys() <= {"state", "single"}


def test_laws_can_be_left_out():
    assert "left out" in check_vector_env(saves_views(), skip=["state"]).skipped["state"]
    with pytest.raises(ValueError, match="'states', which is no law"):
        check_vector_env(saves_views(), skip=["states"])


def test_what_promises_no_bits_is_not_asked_for_them():
    envs = UnseededNoise(CartPole(), 3, max_episode_steps=20, num_threads=1)
    envs.metadata["deterministic"] = False
    report = check_vector_env(envs)
    assert {"spaces", "autoreset", "reward_terms", "bad_actions"} <= set(report.checked)
    assert "compares bits" in report.skipped["determinism"]


def test_an_environment_in_which_nothing_ends_says_so():
    envs = MotrixVectorEnv(CartPole(), 2, num_threads=1)
    assert "no episode ended in 3 steps" in check_vector_env(envs, steps=3).skipped["autoreset"]


def test_the_report_reads_as_a_table():
    lines = str(check_vector_env(MotrixVectorEnv(CartPole(), 2, num_threads=1), steps=3)).splitlines()
    assert len(lines) == len(LAWS)
    assert lines[0].split() == ["spaces", "holds"]


def test_spaces_that_are_not_of_arrays_are_refused():
    envs = MotrixVectorEnv(CartPole(), 2, num_threads=1)
    envs.single_observation_space = gymnasium.spaces.Dict({"x": envs.single_observation_space})
    with pytest.raises(TypeError, match="not a space of arrays"):
        check_vector_env(envs)


def saves_views() -> MotrixVectorEnv:
    return SavesViews(CartPole(), 2, max_episode_steps=20, num_threads=1)
