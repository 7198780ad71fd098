"""PPO and SAC on JAX."""
