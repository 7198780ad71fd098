"""PPO of SKRL behind NumPy arrays, on Torch and on JAX."""
