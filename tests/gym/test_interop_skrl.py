"""SKRL's own trainer, as anybody would write it, over the environments as they are."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from motrix_gym.hierarchy import HierarchicalVectorEnv

pytest.importorskip("torch")
pytest.importorskip("skrl")

from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.trainers.torch import SequentialTrainer
from skrl.utils.model_instantiators.torch import deterministic_model, gaussian_model

NETWORK = [{"name": "net", "input": "OBSERVATIONS", "layers": [8], "activations": "elu"}]
TWO_TASKS = [{"id": "Motrix/CartPole-v0", "name": "one"}, {"id": "Motrix/CartPole-v0", "name": "other"}]
ROWS, STEPS = 3, 6


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
