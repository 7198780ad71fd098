"""PPO in one file, as CleanRL writes it, on 256 CartPoles; with the true last observation of every episode.

pip install "motrix-gym" torch
python examples/libraries/single_file_ppo.py
"""

import argparse

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import flatdim
from torch import nn

import motrix_gym  # noqa: F401  # registers the environments

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env-steps", type=int, default=1_000_000)
args = parser.parse_args()

NUM_ENVS, STEPS, EPOCHS, BATCH = 256, 32, 5, 2048
GAMMA, LAMBDA, CLIP = 0.99, 0.95, 0.2

torch.manual_seed(0)
envs = gymnasium.make_vec(  # same-step autoreset; returns of some 10, which a critic learns sooner than 100
    "Motrix/CartPole-v0", num_envs=NUM_ENVS, reward_weights={"alive": 0.1}
)
inputs, outputs = flatdim(envs.single_observation_space), flatdim(envs.single_action_space)
actor = nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))
critic = nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
log_std = nn.Parameter(torch.zeros(outputs))
parameters = [*actor.parameters(), *critic.parameters(), log_std]
optimizer = torch.optim.Adam(parameters, lr=4e-3, eps=1e-5)


def distribution(observations: torch.Tensor) -> torch.distributions.Independent:
    """The policy's actions."""
    return torch.distributions.Independent(torch.distributions.Normal(actor(observations), log_std.exp()), 1)


def values_of(observations: np.ndarray) -> np.ndarray:
    """The critic's values, (N,)."""
    return critic(torch.from_numpy(observations)).squeeze(1).numpy()


observation, _ = envs.reset(seed=0)
for _ in range(max(args.env_steps // (NUM_ENVS * STEPS), 1)):
    observations = np.zeros((STEPS, NUM_ENVS, inputs), dtype=np.float32)
    actions = np.zeros((STEPS, NUM_ENVS, outputs), dtype=np.float32)
    errors, values = np.zeros((STEPS, NUM_ENVS)), np.zeros((STEPS, NUM_ENVS))
    goes_on = np.zeros((STEPS, NUM_ENVS), dtype=bool)
    with torch.no_grad():
        for step in range(STEPS):
            observations[step], values[step] = observation, values_of(observation)
            actions[step] = distribution(torch.from_numpy(observation)).sample().numpy()
            observation, reward, terminated, truncated, info = envs.step(actions[step])
            # After a truncation the episode would have gone on from its own last observation, not from the next first.
            following = observation.copy()
            if "final_obs" in info:
                following[info["_final_obs"]] = info["final_obs"][info["_final_obs"]]
            errors[step] = reward + GAMMA * values_of(following) * ~terminated - values[step]
            goes_on[step] = ~(terminated | truncated)
    advantages, later = np.zeros((STEPS, NUM_ENVS)), np.zeros(NUM_ENVS)
    for step in reversed(range(STEPS)):
        advantages[step] = later = errors[step] + GAMMA * LAMBDA * goes_on[step] * later

    batch = [torch.from_numpy(x.reshape(STEPS * NUM_ENVS, -1)) for x in (observations, actions)]
    advantage, value = (torch.from_numpy(x.ravel().astype(np.float32)) for x in (advantages, values))
    with torch.no_grad():
        log_prob = distribution(batch[0]).log_prob(batch[1])
    for rows in (rows for _ in range(EPOCHS) for rows in torch.randperm(STEPS * NUM_ENVS).split(BATCH)):
        ratio = (distribution(batch[0][rows]).log_prob(batch[1][rows]) - log_prob[rows]).exp()
        normed = (advantage[rows] - advantage[rows].mean()) / (advantage[rows].std() + 1e-8)
        policy_loss = -torch.min(ratio * normed, ratio.clamp(1 - CLIP, 1 + CLIP) * normed).mean()
        targets = advantage[rows] + value[rows]
        value_loss = (critic(batch[0][rows]).squeeze(1) - targets).square().mean()
        optimizer.zero_grad()
        (policy_loss + 0.5 * value_loss).backward()
        nn.utils.clip_grad_norm_(parameters, 0.5)
        optimizer.step()

fresh = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=32)
observation, _ = fresh.reset(seed=1)
alive, returns = np.ones(32, dtype=bool), np.zeros(32)
with torch.no_grad():
    while alive.any():
        observation, reward, terminated, truncated, _ = fresh.step(actor(torch.from_numpy(observation)).numpy())
        returns += reward * alive
        alive &= ~(terminated | truncated)
print(f"mean return {returns.mean():.0f} of 1000")
