"""Every wrapper of Gymnasium's goes around the environments, or refuses them for the reason that is put down here.

The wrappers are those that Gymnasium itself lists: a new one fails until it has a line.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.error import DependencyNotInstalled
from gymnasium.spaces import Box
from gymnasium.wrappers import vector

MODES = ("SameStep", "NextStep", "Disabled")
Arguments = dict[str, Any] | Callable[[Any], dict[str, Any]]


@dataclass(frozen=True)
class Wrapper:
    """How a wrapper is tried.

    Attributes:
        arguments: Of the wrapper; or a function that has them for an environment.
        pictures: Whether it is about pictures.
        arrays: The library whose arrays it gives and takes.
        needs: Modules without which it cannot be tried.
        refused: What it says of these environments; None where it takes them.
        missing: A module that Gymnasium does not bring; the wrapper asks for it.
        modes: Vector wrappers: the autoreset modes that it takes.
    """

    arguments: Arguments = field(default_factory=dict)
    pictures: bool = False
    arrays: str = "numpy"
    needs: tuple[str, ...] = ()
    refused: str | None = None
    missing: str | None = None
    modes: tuple[str, ...] = MODES


def doubled(env: Any) -> dict[str, Any]:
    space = env.observation_space
    return {"func": lambda x: 2 * x, "observation_space": Box(2 * space.low, 2 * space.high, dtype=np.float32)}


def halved(env: Any) -> dict[str, Any]:
    space = env.action_space
    return {"func": lambda x: x / 2, "action_space": Box(2 * space.low, 2 * space.high, dtype=np.float32)}


def as_one_row(env: Any) -> dict[str, Any]:
    space = getattr(env, "single_observation_space", env.observation_space)
    return {"shape": (1, *space.shape)}


NO_BOUNDS = "bounds|finite"  # the observations of a robot have none
NO_PARTS = "only usable with `Dict` and `Tuple` observations"
NO_IMAGE = "requires an? .*image"
TO_ONE = {"min_action": np.float32(-1), "max_action": np.float32(1)}
NUMPYS = {"env_xp": np, "target_xp": np}
ARRAYS = "array_api_compat"
SINGLE = {
    "AddRenderObservation": Wrapper(pictures=True),
    "AddWhiteNoise": Wrapper({"probability_of_noise_per_pixel": 0.5}, pictures=True),
    "ArrayConversion": Wrapper(NUMPYS, needs=(ARRAYS,)),
    "AtariPreprocessing": Wrapper(pictures=True, missing="cv2", refused="no attribute 'ale'|get_action_meanings"),
    "Autoreset": Wrapper(),
    "ClipAction": Wrapper(),
    "ClipReward": Wrapper({"min_reward": -1.0, "max_reward": 1.0}),
    "DelayObservation": Wrapper({"delay": 1}),
    "DiscretizeAction": Wrapper({"bins": 3}),
    "DiscretizeObservation": Wrapper({"bins": 3}, refused=NO_BOUNDS),
    "DtypeObservation": Wrapper({"dtype": np.float64}),
    "FilterObservation": Wrapper({"filter_keys": ["position"]}, refused=NO_PARTS),
    "FlattenObservation": Wrapper(),
    "FrameStackObservation": Wrapper({"stack_size": 2}),
    "GrayscaleObservation": Wrapper(refused=NO_IMAGE),
    "HumanRendering": Wrapper(pictures=True, missing="pygame"),
    "JaxToNumpy": Wrapper(needs=(ARRAYS, "jax")),
    "JaxToTorch": Wrapper(arrays="torch", needs=(ARRAYS, "jax", "torch")),
    "MaxAndSkipObservation": Wrapper({"skip": 2}),
    "NormalizeObservation": Wrapper(),
    "NormalizeReward": Wrapper(),
    "NumpyToTorch": Wrapper(arrays="torch", needs=(ARRAYS, "torch")),
    "ObstructView": Wrapper({"obstructed_pixels_ratio": 0.2, "obstruction_width": 3}, pictures=True),
    "OrderEnforcing": Wrapper(),
    "PassiveEnvChecker": Wrapper(),
    "RecordEpisodeStatistics": Wrapper(),
    "RecordVideo": Wrapper({"video_folder": "videos"}, pictures=True, missing="moviepy"),
    "RenderCollection": Wrapper(pictures=True),
    "RepeatAction": Wrapper({"num_repeats": 2}),
    "RescaleAction": Wrapper(TO_ONE),
    "RescaleObservation": Wrapper({"min_obs": np.float32(-1), "max_obs": np.float32(1)}, refused=NO_BOUNDS),
    "ReshapeObservation": Wrapper(as_one_row),
    "ResizeObservation": Wrapper({"shape": (8, 8)}, refused=NO_IMAGE),
    "StickyAction": Wrapper({"repeat_action_probability": 0.5}),
    "TimeAwareObservation": Wrapper(),
    "TimeLimit": Wrapper({"max_episode_steps": 3}),
    "TransformAction": Wrapper(halved),
    "TransformObservation": Wrapper(doubled),
    "TransformReward": Wrapper({"func": lambda reward: 2 * reward}),
}
OTHERS = ("NextStep", "Disabled")  # where the wrapper does not know what to do with final_obs
MASKLESS = ("SameStep", "NextStep")  # where no mask is given to `reset`, which JAX's wrappers would make one of JAX
VECTOR = {
    "ArrayConversion": Wrapper(NUMPYS, needs=(ARRAYS,)),
    "ClipAction": Wrapper(),
    "ClipReward": Wrapper({"min_reward": -1.0, "max_reward": 1.0}),
    "DictInfoToList": Wrapper(),
    "DtypeObservation": Wrapper({"dtype": np.float64}, modes=OTHERS),
    "FilterObservation": Wrapper({"filter_keys": ["position"]}, modes=OTHERS, refused=NO_PARTS),
    "FlattenObservation": Wrapper(modes=OTHERS),
    "GrayscaleObservation": Wrapper(modes=OTHERS, refused=NO_IMAGE),
    "HumanRendering": Wrapper(pictures=True, missing="pygame"),
    "JaxToNumpy": Wrapper(needs=(ARRAYS, "jax"), modes=MASKLESS),
    "JaxToTorch": Wrapper(arrays="torch", needs=(ARRAYS, "jax", "torch"), modes=MASKLESS),
    "NormalizeObservation": Wrapper(modes=("NextStep",)),
    "NormalizeReward": Wrapper(),
    "NumpyToTorch": Wrapper(arrays="torch", needs=(ARRAYS, "torch")),
    "RecordEpisodeStatistics": Wrapper(),
    "RecordVideo": Wrapper({"video_folder": "videos"}, pictures=True, missing="moviepy"),
    "RescaleAction": Wrapper(TO_ONE),
    "RescaleObservation": Wrapper({"min_obs": -1.0, "max_obs": 1.0}, modes=OTHERS, refused=NO_BOUNDS),
    "ReshapeObservation": Wrapper(as_one_row, modes=OTHERS),
    "ResizeObservation": Wrapper({"shape": (8, 8)}, modes=OTHERS, refused=NO_IMAGE),
    "TransformAction": Wrapper({"func": lambda action: action / 2}),
    "TransformObservation": Wrapper({"func": lambda x: 2 * x}, modes=OTHERS),
    "TransformReward": Wrapper({"func": lambda reward: 2 * reward}),
    "VectorizeTransformAction": Wrapper({"wrapper": wrappers.RescaleAction, **TO_ONE}),
    "VectorizeTransformObservation": Wrapper({"wrapper": wrappers.DtypeObservation, "dtype": float}, modes=OTHERS),
    "VectorizeTransformReward": Wrapper({"wrapper": wrappers.TransformReward, "func": lambda reward: 2 * reward}),
}


def test_every_wrapper_of_gymnasiums_is_tried():
    assert SINGLE.keys() == set(wrappers.__all__) - {"vector"}
    assert VECTOR.keys() == set(vector.__all__)


def wrapped(env: Any, module: Any, name: str, how: Wrapper) -> Any:
    """The environment in the wrapper of that name."""
    arguments = how.arguments(env) if callable(how.arguments) else how.arguments
    return getattr(module, name)(env, **arguments)


def action_of(env: Any, how: Wrapper) -> Any:
    """A random action, in the arrays that the wrapper takes."""
    action = env.action_space.sample()
    return pytest.importorskip("torch").as_tensor(action) if how.arrays == "torch" else action


def expected(request: pytest.FixtureRequest, how: Wrapper) -> Any:
    """What should come of it: nothing, or what is raised; skips what cannot be tried here."""
    if how.pictures:
        request.getfixturevalue("opengl")
    for module in how.needs:
        pytest.importorskip(module)
    if how.missing and importlib.util.find_spec(how.missing) is None:
        return pytest.raises(DependencyNotInstalled, match=f"{how.missing.replace('cv2', 'opencv')}.* not installed")
    if how.refused:
        return pytest.raises((ValueError, AttributeError), match=how.refused)
    return None


@pytest.fixture(params=["Motrix/CartPole-v0", "Motrix/Go1-v0"])
def some_id(request: pytest.FixtureRequest) -> str:
    """One with few numbers, one with a state of its own."""
    return request.param


def in_pictures(how: Wrapper) -> dict[str, Any]:
    return {"render_mode": "rgb_array", "render_size": (64, 48)} if how.pictures else {}


def attempted(outcome: Any, do: Callable[[], None]) -> None:
    """Does it, and sees to it that it comes to what is expected."""
    if outcome is None:
        do()
    else:
        with outcome:
            do()


@pytest.mark.parametrize("name", sorted(set(wrappers.__all__) - {"vector"}))
def test_single_environments(name, some_id, request, tmp_path, monkeypatch):
    how = SINGLE[name]
    monkeypatch.chdir(tmp_path)

    def stepped() -> None:
        env = wrapped(gymnasium.make(some_id, **in_pictures(how)), wrappers, name, how)
        observation, _ = env.reset(seed=0)
        for _ in range(3):
            observation, *_ = env.step(action_of(env, how))
        assert type(observation).__module__.startswith(how.arrays)
        assert env.observation_space.contains(np.asarray(observation, env.observation_space.dtype))
        if how.pictures:
            assert env.render() is not None
        env.close()

    attempted(expected(request, how), stepped)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", sorted(vector.__all__))
def test_vector_environments(name, mode, some_id, request, tmp_path, monkeypatch):
    how = VECTOR[name]
    monkeypatch.chdir(tmp_path)
    kwargs = {"num_envs": 3, "num_threads": 1, "max_episode_steps": 2, "autoreset_mode": mode, **in_pictures(how)}

    def stepped() -> None:
        envs = wrapped(gymnasium.make_vec(some_id, **kwargs), vector, name, how)
        observations, _ = envs.reset(seed=0)
        for _ in range(5):
            observations, _, _, ended, _ = envs.step(action_of(envs, how))
            if mode == "Disabled" and ended.any():
                observations, _ = envs.reset(options={"reset_mask": np.asarray(ended)})
        assert type(observations).__module__.startswith(how.arrays)
        assert envs.observation_space.contains(np.asarray(observations, envs.observation_space.dtype))
        envs.close()

    outcome = expected(request, how)
    if mode not in how.modes:
        outcome = pytest.raises(ValueError, match=r"autoreset_mode.* to be .*NEXT_STEP|it takes a NumPy array of")
    attempted(outcome, stepped)
