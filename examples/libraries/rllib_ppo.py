"""PPO of RLlib on 256 CartPoles that are stepped together.

pip install "motrix-gym" torch "ray==2.60.0" dm-tree lz4 ormsgpack pandas pyarrow pydantic pyyaml scipy tensorboardX
python examples/libraries/rllib_ppo.py
"""

import argparse
import math

import gymnasium
import numpy as np
import torch
from ray.rllib.algorithms.ppo import PPOConfig  # pyright: ignore[reportMissingImports]
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig  # pyright: ignore[reportMissingImports]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env-steps", type=int, default=1_000_000)
args = parser.parse_args()

NUM_ENVS, STEPS = 256, 32

config = (
    PPOConfig()
    .environment(
        "motrix_gym:Motrix/CartPole-v0",  # with its module, so that every worker can import it
        env_config={
            "autoreset_mode": "NextStep",  # RLlib takes this mode for granted
            "reward_weights": {"alive": 0.1},  # returns of some 10, which a critic learns sooner than 100
        },
        normalize_actions=False,
    )
    .env_runners(
        num_env_runners=0,
        num_envs_per_env_runner=NUM_ENVS,
        gym_env_vectorize_mode="vector_entry_point",
        rollout_fragment_length=STEPS,
    )
    .training(
        train_batch_size=NUM_ENVS * STEPS,
        minibatch_size=2048,
        num_epochs=5,
        lr=4e-3,
        gamma=0.99,
        lambda_=0.95,
        clip_param=0.2,
        vf_clip_param=math.inf,  # the default does not learn from a squared error above 10
        grad_clip=0.5,
        use_kl_loss=False,
    )
    .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64], vf_share_layers=False))
    .debugging(seed=0, log_level="ERROR")
)
algorithm = config.build_algo()
for _ in range(max(args.env_steps // (NUM_ENVS * STEPS), 1)):
    algorithm.train()

policy = algorithm.get_module()
fresh = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=32)
observation, _ = fresh.reset(seed=1)
alive, returns = np.ones(32, dtype=bool), np.zeros(32)
with torch.no_grad():
    while alive.any():
        outputs = policy.forward_inference({"obs": torch.from_numpy(observation)})["action_dist_inputs"]
        observation, reward, terminated, truncated, _ = fresh.step(outputs[:, :1].numpy())  # the mean; then log(std)
        returns += reward * alive
        alive &= ~(terminated | truncated)
print(f"mean return {returns.mean():.0f} of 1000")
