"""Trains policies for Gymnasium environments with SKRL's PPO, on Torch or on JAX: the `motrix-train` command."""
