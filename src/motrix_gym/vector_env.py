"""The environments of one task, or of several that are joined, as a Gymnasium vector environment."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import AutoresetMode

from motrix_gym import arguments
from motrix_gym.batch import TaskBatch
from motrix_gym.batch_vector_env import BatchVectorEnv
from motrix_gym.joined_batch import JoinedBatch
from motrix_gym.multi_task import MultiTask
from motrix_gym.physics.engine import Engine
from motrix_gym.task import Task


class MotrixVectorEnv(BatchVectorEnv):
    """N environments of one task, or of several that are joined, stepped together.

    Environment i of a batch seeded with s has the trajectory of a single environment seeded with s + i, bit for bit,
    whatever the others do. The order of a step is that of `motrix_gym.step.step`. With ``physics="warp"`` on a GPU this
    holds but for rounding, and ``metadata["deterministic"]`` is False.

    Args:
        task: The task.
        num_envs: N.
        max_episode_steps: The time limit in control steps, a truncation; None for none, or -1, as in `gymnasium.make`.
        num_threads: Physics threads; 0 is one a CPU. Results do not depend on it.
        physics: The engine: "mujoco", or "warp", which is MuJoCo Warp (see docs/warp.md).
        device: Where "warp" runs, as "cuda:0" or "cpu"; None for the first GPU, or else the CPU.
        arrays: What `reset` and `step` give, and `step` takes: "numpy", or "torch", tensors on the device of "warp",
            with same-step autoreset alone (see docs/warp.md).
        autoreset_mode: `gymnasium.vector.AutoresetMode` or its value. ``SameStep`` (default) resets an environment in
            the step that ends its episode and puts its last observation into ``info["final_obs"]``; ``NextStep``
            resets it in the following step, whose action for it is ignored; ``Disabled`` leaves it to
            ``reset(options={"reset_mask": mask})``.
        render_mode: None or "rgb_array".
        render_size: Width and height of a picture in pixels.
        render_camera: Name of the model's camera that is drawn; None for ``track``, else the first, else a free one.

    Attributes:
        task: The task.
        task_names: The names of tasks that are joined, in the order of ``info["task"]``; else empty.
        num_threads: As given.
        physics: As given.
        device: As given.
        max_episode_steps: As given; None for none.
    """

    def __init__(
        self,
        task: Task | MultiTask,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        num_threads: int = 0,
        physics: str = "mujoco",
        device: str | None = None,
        arrays: str = "numpy",
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
        render_size: tuple[int, int] = (480, 360),
        render_camera: str | None = None,
    ):
        num_envs = arguments.whole_number("num_envs", num_envs, at_least=1)
        self.num_threads = arguments.whole_number("num_threads", num_threads, at_least=0)
        self.physics, self.device = physics, device
        self.max_episode_steps = arguments.time_limit(max_episode_steps)
        engine = Engine(physics, device, self.num_threads, arrays)
        shell: dict[str, Any] = {
            "autoreset_mode": arguments.autoreset_mode(autoreset_mode),
            "render_mode": arguments.render_mode(render_mode),
            "render_size": arguments.render_size(render_size),
            "render_camera": render_camera,
        }
        if arrays == "torch":
            _require_possible_with_tensors(task, shell["autoreset_mode"])
        self.task: Any = task
        make = JoinedBatch if isinstance(task, MultiTask) else TaskBatch
        batch = make(task, num_envs, self.max_episode_steps, engine)  # pyright: ignore[reportArgumentType]
        self.task_names: tuple[str, ...] = getattr(batch, "task_names", ())
        if render_camera is not None:
            from motrix_gym.rendering import check_camera

            for model in batch.models:
                check_camera(model, render_camera)
        super().__init__(batch, **shell)

    def _arguments(self) -> dict[str, Any]:
        names = ("task", "num_envs", "max_episode_steps", "num_threads", "physics", "device", "arrays")
        names += ("autoreset_mode",)
        return {name: getattr(self, name) for name in (*names, "render_mode", "render_size", "render_camera")}


def _require_possible_with_tensors(task: Task | MultiTask, mode: AutoresetMode) -> None:
    if isinstance(task, MultiTask):
        raise ValueError("arrays='torch' is not possible with joined tasks; leave it out")
    if mode is not AutoresetMode.SAME_STEP:
        raise ValueError(f"arrays='torch' is not possible with autoreset_mode {mode.value!r}; use 'SameStep'")
