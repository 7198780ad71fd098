"""PPO of SKRL by hand on 256 CartPoles, without `motrix_train`.

pip install "motrix-gym" "skrl[torch]"
python examples/libraries/skrl_ppo.py
"""

import argparse

import gymnasium
import numpy as np
import torch
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl.resources.schedulers.torch import KLAdaptiveLR
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed
from torch import nn

import motrix_gym  # noqa: F401  # registers the environments

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env-steps", type=int, default=1_000_000)
args = parser.parse_args()

NUM_ENVS, STEPS = 256, 32


class Policy(GaussianMixin, Model):
    def __init__(self, observation_space, action_space, device):
        Model.__init__(self, observation_space=observation_space, action_space=action_space, device=device)
        GaussianMixin.__init__(self, clip_log_std=True)
        self.net = nn.Sequential(nn.Linear(self.num_observations, 64), nn.ELU(), nn.Linear(64, self.num_actions))
        self.log_std = nn.Parameter(torch.zeros(self.num_actions))

    def compute(self, inputs, role=""):  # pyright: ignore[reportIncompatibleMethodOverride]  # called by position
        return self.net(inputs["observations"]), {"log_std": self.log_std}


class Value(DeterministicMixin, Model):
    def __init__(self, observation_space, action_space, device):
        Model.__init__(self, observation_space=observation_space, action_space=action_space, device=device)
        DeterministicMixin.__init__(self)
        self.net = nn.Sequential(nn.Linear(self.num_observations, 64), nn.ELU(), nn.Linear(64, 1))

    def compute(self, inputs, role=""):  # pyright: ignore[reportIncompatibleMethodOverride]  # called by position
        return self.net(inputs["observations"]), {}


class TrueLastObservations(PPO):
    """SKRL takes the first observation of the next episode for the last of this one; this puts the true one there."""

    def record_transition(self, *, next_observations, infos, **transition):
        if "final_obs" in infos:
            ended = torch.as_tensor(infos["_final_obs"])
            next_observations = next_observations.clone()
            next_observations[ended] = torch.as_tensor(np.asarray(infos["final_obs"]), device=self.device)[ended]
        super().record_transition(next_observations=next_observations, infos=infos, **transition)


set_seed(0)
reward_weights = {"alive": 0.1}  # returns of some 10, which a critic learns sooner than 100
envs = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=NUM_ENVS, reward_weights=reward_weights)
env = wrap_env(envs, wrapper="gymnasium")
spaces = {"observation_space": env.observation_space, "action_space": env.action_space, "device": env.device}
models = {"policy": Policy(**spaces), "value": Value(**spaces)}
cfg = PPO_CFG(
    rollouts=STEPS,
    learning_epochs=5,
    mini_batches=4,
    discount_factor=0.99,
    learning_rate=1e-3,
    learning_rate_scheduler=KLAdaptiveLR,
    learning_rate_scheduler_kwargs={"kl_threshold": 0.008},
    time_limit_bootstrap=True,
    observation_preprocessor=RunningStandardScaler,
    observation_preprocessor_kwargs={"size": env.observation_space, "device": env.device},
)
cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
memory = RandomMemory(memory_size=STEPS, num_envs=NUM_ENVS, device=env.device)
agent = TrueLastObservations(models=models, memory=memory, cfg=cfg, **spaces)
steps = max(args.env_steps // (NUM_ENVS * STEPS), 1) * STEPS
SequentialTrainer(env=env, agents=agent, cfg={"timesteps": steps, "headless": True}).train()

agent.enable_training_mode(False)
fresh = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=32)
observation, _ = fresh.reset(seed=1)
alive, returns = np.ones(32, dtype=bool), np.zeros(32)
with torch.no_grad():
    while alive.any():
        _, outputs = agent.act(torch.from_numpy(observation), None, timestep=0, timesteps=0)
        observation, reward, terminated, truncated, _ = fresh.step(outputs["mean_actions"].numpy())
        returns += reward * alive
        alive &= ~(terminated | truncated)
print(f"mean return {returns.mean():.0f} of 1000")
