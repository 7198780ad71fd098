"""PPO with TorchRL on 256 CartPoles.

pip install "motrix-gym" torchrl
python examples/libraries/torchrl_ppo.py
"""

import argparse

import gymnasium
import torch
from tensordict.nn import TensorDictModule
from tensordict.nn.distributions import NormalParamExtractor
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper
from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import motrix_gym  # noqa: F401  # registers the environments

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env-steps", type=int, default=1_000_000)
args = parser.parse_args()

NUM_ENVS, STEPS, EPOCHS, BATCH = 256, 32, 5, 2048


def make(num_envs: int) -> GymWrapper:
    """CartPoles; TorchRL resets them itself, so autoreset is off."""
    envs = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=num_envs, autoreset_mode="Disabled")
    return GymWrapper(envs)


torch.manual_seed(0)
env = make(NUM_ENVS)
env.set_seed(0)
inputs, outputs = env.observation_spec["observation"].shape[-1], env.action_spec.shape[-1]
hidden = lambda: (nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())  # noqa: E731
network = nn.Sequential(*hidden(), nn.Linear(64, 2 * outputs), NormalParamExtractor())
actor = ProbabilisticActor(
    TensorDictModule(network, in_keys=["observation"], out_keys=["loc", "scale"]),
    in_keys=["loc", "scale"],
    distribution_class=TanhNormal,
    return_log_prob=True,
)
critic = ValueOperator(nn.Sequential(*hidden(), nn.Linear(64, 1)), in_keys=["observation"])
advantage = GAE(gamma=0.98, lmbda=0.95, value_network=critic, average_gae=True)
loss = ClipPPOLoss(actor, critic, clip_epsilon=0.2, entropy_coeff=0.0)
optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)

frames = NUM_ENVS * STEPS
collector = Collector(env, actor, frames_per_batch=frames, total_frames=max(args.env_steps // frames, 1) * frames)
for rollout in collector:
    with torch.no_grad():
        advantage(rollout)
    samples = rollout.reshape(-1)
    for rows in (rows for _ in range(EPOCHS) for rows in torch.randperm(len(samples)).split(BATCH)):
        losses = loss(samples[rows])
        optimizer.zero_grad()
        (losses["loss_objective"] + losses["loss_critic"]).backward()
        nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
        optimizer.step()
collector.shutdown()

fresh = make(32)
fresh.set_seed(1)
with torch.no_grad():
    episodes = fresh.rollout(1000, policy=actor, break_when_any_done=False)
ended = episodes["next", "done"].squeeze(-1).cumsum(dim=1) - episodes["next", "done"].squeeze(-1).long()
print(f"mean return {(episodes['next', 'reward'].squeeze(-1) * (ended == 0)).sum(dim=1).mean():.0f} of 1000")
