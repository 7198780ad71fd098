"""The environment of this package; `motrix_gym` imports this module because pyproject.toml names it."""

from motrix_gym import register

register("MyDog/Walk-v0", "my_dog.tasks:MyDog", max_episode_steps=1000)
