"""PPO and SAC on Torch."""
