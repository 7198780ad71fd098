"""The environments of this package. `motrix_gym` imports this module: pyproject.toml names it as an entry point."""

from motrix_gym import register

# The task by its name: this module may be imported while the module of the task is being imported.
register("Balancer/Drive-v0", "balancer.tasks:Drive", max_episode_steps=500)
