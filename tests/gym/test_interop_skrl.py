"""SKRL's own trainer, as anybody would write it, over the environments as they are."""

import ast
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.vector import VectorWrapper

from motrix_gym.hierarchy import HierarchicalVectorEnv

pytest.importorskip("torch")
pytest.importorskip("skrl")

import torch
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.trainers.torch import SequentialTrainer
from skrl.utils.model_instantiators.torch import deterministic_model, gaussian_model

NETWORK = [{"name": "net", "input": "OBSERVATIONS", "layers": [8], "activations": "elu"}]
TWO_TASKS = [{"id": "Motrix/CartPole-v0", "name": "one"}, {"id": "Motrix/CartPole-v0", "name": "other"}]
ROWS, STEPS = 3, 6
EXAMPLE = Path(__file__).parents[2] / "examples" / "libraries" / "skrl_ppo.py"


def commanded():
    """Go1s whose action is the command of a policy that stands still."""
    walking = gymnasium.make_vec("Motrix/Go1-v0", num_envs=ROWS, num_threads=1).unwrapped
    return HierarchicalVectorEnv(walking, lambda x: np.zeros((len(x), 12)), hold=2, command_space=Box(-1, 1, (3,)))


MAKERS = {
    "one task": lambda: gymnasium.make_vec("Motrix/CartPole-v0", num_envs=ROWS, num_threads=1),
    "tasks joined": lambda: gymnasium.make_vec("Motrix/MultiTask-v0", num_envs=ROWS, num_threads=1, tasks=TWO_TASKS),
    "hierarchy": commanded,
}


@pytest.mark.filterwarnings("ignore:.*without specifying any render mode.*")
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_sequential_trainer_runs_as_it_comes(make, tmp_path):
    """With its default configuration it renders every step."""
    env = wrap_env(make(), wrapper="gymnasium")
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space, "device": env.device}
    models = {
        "policy": gaussian_model(**spaces, network=NETWORK, output="ACTIONS"),
        "value": deterministic_model(**spaces, network=NETWORK, output="ONE"),
    }
    cfg = PPO_CFG(rollouts=STEPS // 2, mini_batches=1, learning_epochs=1)
    cfg.experiment.directory = str(tmp_path)
    agent = PPO(models=models, memory=RandomMemory(memory_size=STEPS // 2, num_envs=ROWS), cfg=cfg, **spaces)
    own = {"timesteps": STEPS, "disable_progressbar": True, "close_environment_at_exit": False}
    SequentialTrainer(env=env, agents=agent, cfg=own).train()
    assert agent.memory.filled


def of_the_example(name: str) -> Any:
    """A class of the example, which is a script and cannot be imported."""
    [found] = [node for node in ast.parse(EXAMPLE.read_text("utf-8")).body if getattr(node, "name", None) == name]
    names: dict[str, Any] = {"PPO": PPO, "np": np, "torch": torch}
    exec(compile(ast.Module([found], []), EXAMPLE.name, "exec"), names)
    return names[name]


class Told(VectorWrapper):
    """Keeps the rewards of every step, and the true last observation of those that were truncated."""

    def __init__(self, envs):
        super().__init__(envs)
        self.rewards, self.truncated, self.last = [], [], []

    def step(self, actions):
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        self.rewards.append(rewards)
        self.truncated.append(truncated)
        self.last.append(info.get("final_obs", observations))
        return observations, rewards, terminated, truncated, info


def known(observations: torch.Tensor) -> torch.Tensor:
    """A value function, (N, k) to (N, 1)."""
    return observations.sum(dim=1, keepdim=True) * 3 + 1


@pytest.mark.parametrize(("agent_class", "right"), [(PPO, False), (of_the_example("TrueLastObservations"), True)])
def test_the_example_bootstraps_a_truncation_from_the_last_observation_as_skrl_alone_does_not(
    agent_class, right, tmp_path
):
    torch.manual_seed(0)
    short = {"max_episode_steps": 12, "max_angle": 0.1}
    told = Told(gymnasium.make_vec("Motrix/CartPole-v0", num_envs=ROWS, num_threads=1, **short))
    env = wrap_env(told, wrapper="gymnasium")
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space, "device": env.device}
    models = {
        "policy": gaussian_model(**spaces, network=NETWORK, output="ACTIONS"),
        "value": deterministic_model(**spaces, network=NETWORK, output="ONE"),
    }
    models["value"].act = lambda inputs, role="": (known(inputs["observations"]), {})
    steps = 100
    cfg = PPO_CFG(rollouts=steps + 1, discount_factor=0.9, time_limit_bootstrap=True)  # nothing is learned
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    cfg.experiment.directory = str(tmp_path)
    agent = agent_class(models=models, memory=RandomMemory(memory_size=steps, num_envs=ROWS), cfg=cfg, **spaces)
    told.reset(seed=0)
    own = {"timesteps": steps, "headless": True, "disable_progressbar": True, "close_environment_at_exit": False}
    SequentialTrainer(env=env, agents=agent, cfg=own).train()
    stored = agent.memory.get_tensor_by_name("rewards").squeeze(-1).numpy()
    rewards, truncated = np.array(told.rewards), np.array(told.truncated)
    values = np.array([known(torch.as_tensor(last)).squeeze(1).numpy() for last in told.last])
    assert truncated.any()
    np.testing.assert_allclose(stored[~truncated], rewards[~truncated], rtol=1e-6)
    off = np.abs(stored - (rewards + 0.9 * values))[truncated]
    assert off.max() < 1e-5 if right else off.min() > 1e-4
