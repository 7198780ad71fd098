"""PPO of rsl_rl, version 5, on 256 CartPoles.

pip install "motrix-gym" rsl-rl-lib
python examples/libraries/rsl_rl_ppo.py
"""

import argparse

import gymnasium
import numpy as np
import torch
from rsl_rl.runners import OnPolicyRunner

from motrix_gym.interop import to_rsl_rl

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env-steps", type=int, default=1_000_000)
args = parser.parse_args()

NUM_ENVS, STEPS = 256, 32
MODEL = {"class_name": "MLPModel", "hidden_dims": [64, 64], "activation": "elu", "obs_normalization": True}
CONFIG = {
    "num_steps_per_env": STEPS,
    "save_interval": 1000,
    "obs_groups": {"actor": ["policy"], "critic": ["policy"]},  # "critic": ["critic"] where the task has a state
    "actor": {**MODEL, "distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 1.0}},
    "critic": MODEL,
    "algorithm": {"class_name": "PPO", "learning_rate": 1e-3, "schedule": "adaptive", "gamma": 0.99},
}

torch.manual_seed(0)
reward_weights = {"alive": 0.1}  # returns of some 10, which a critic learns sooner than 100
envs = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=NUM_ENVS, reward_weights=reward_weights)
runner = OnPolicyRunner(to_rsl_rl(envs, seed=0), CONFIG)
runner.learn(max(args.env_steps // (NUM_ENVS * STEPS), 1), init_at_random_ep_len=True)

policy = runner.get_inference_policy()
fresh = to_rsl_rl(gymnasium.make_vec("Motrix/CartPole-v0", num_envs=32), seed=1)
observations, alive, returns = fresh.get_observations(), np.ones(32, dtype=bool), np.zeros(32)
with torch.inference_mode():
    while alive.any():
        observations, rewards, dones, _ = fresh.step(policy(observations))
        returns += rewards.numpy() * alive
        alive &= ~dones.bool().numpy()
print(f"mean return {returns.mean():.0f} of 1000")
