"""PPO of Stable-Baselines3 on 256 CartPoles that are stepped together.

pip install "motrix-gym" stable-baselines3
python examples/libraries/sb3_ppo.py
"""

import argparse
from typing import Any

import gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor

from motrix_gym.interop import to_sb3

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env-steps", type=int, default=1_000_000)
args = parser.parse_args()


def make(num_envs: int, **fields: Any) -> VecMonitor:
    """CartPoles, whose episodes SB3 counts."""
    return VecMonitor(to_sb3(gymnasium.make_vec("Motrix/CartPole-v0", num_envs=num_envs, **fields)))


env = make(256, reward_weights={"alive": 0.1})  # returns of some 10, which a critic learns sooner than 100
model = PPO("MlpPolicy", env, n_steps=32, batch_size=2048, n_epochs=5, learning_rate=4e-3, gamma=0.99, seed=0)
model.learn(args.env_steps)
mean_return, _ = evaluate_policy(model, make(32), n_eval_episodes=32)
print(f"mean return {mean_return:.0f} of 1000")
