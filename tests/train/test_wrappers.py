"""Vector environments inside a wrapper that changes what is observed: what they cannot do is said when a run begins."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space

from motrix_train.cli import run

STACKED = "Wrapped/CartPole-v0"
MIRRORED = "Wrapped/Go1-v0"
TINY = (
    *("--num-envs=8", "--max-env-steps=1024", "--num-threads=1", "--set=rollouts=32", "--set=check_point_interval=64"),
    *("--set=policy_hidden_layer_sizes=8", "--set=value_hidden_layer_sizes=8", "--set=evaluation_episodes=2"),
)


class Twice(VectorWrapper):
    """Each observation, and it once more."""

    def __init__(self, env: gymnasium.vector.VectorEnv) -> None:
        super().__init__(env)
        inner = env.single_observation_space
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2 * inner.shape[0],), np.float32)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def observations(self, observations: np.ndarray) -> np.ndarray:
        return np.concatenate([observations, observations], axis=1)

    def reset(self, **kwargs: Any) -> Any:
        observations, info = self.env.reset(**kwargs)
        return self.observations(observations), info

    def step(self, actions: Any) -> Any:
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        if "final_obs" in info:
            info = info | {"final_obs": self.observations(info["final_obs"])}
        return self.observations(observations), rewards, terminated, truncated, info


def make(inner: str, num_envs: int, **kwargs: Any) -> Twice:
    return Twice(gymnasium.make_vec(inner, num_envs=num_envs, **kwargs))


for wrapped, plain in ((STACKED, "Motrix/CartPole-v0"), (MIRRORED, "Motrix/Go1-v0")):
    gymnasium.register(
        wrapped, vector_entry_point=lambda *, inner=plain, **kwargs: make(inner, **kwargs), max_episode_steps=50
    )


def test_a_wrapped_environment_trains_and_says_that_it_cannot_be_resumed(work: Path, capsys):
    assert run(["train", STACKED, "--run-dir=mine", "--backend=torch", *TINY]) == 0
    assert "it cannot be resumed" in capsys.readouterr().err
    assert run(["evaluate", "mine", "--episodes=4", "--num-threads=1"]) == 0
    assert run(["train", "--resume", "mine", "--max-env-steps=4096", "-q"]) == 2
    assert "cannot be resumed exactly" in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["critic=state", "mirror=policy"])
def test_what_a_wrapper_hides_is_refused_when_the_run_begins(setting: str, work: Path, capsys):
    fields = ('--env=terrain={"noise": 0.05}',) if setting == "critic=state" else ()
    assert run(["train", MIRRORED, "--backend=torch", *TINY, f"--set={setting}", *fields]) == 2
    assert f"{setting.split('=')[0]} '{setting.split('=')[1]}' is not possible" in capsys.readouterr().err
    assert not (work / "runs").exists()
