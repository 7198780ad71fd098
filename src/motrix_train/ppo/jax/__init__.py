"""PPO on JAX."""
