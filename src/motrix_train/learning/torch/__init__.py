"""PPO on Torch."""
