"""The settings of the Go1, for a longer training."""

from dataclasses import replace

from motrix_train.presets import GO1

PRESETS = {"MyDog/Walk-v0": replace(GO1, max_env_steps=8_000_000)}
