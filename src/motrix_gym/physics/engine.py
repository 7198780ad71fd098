"""Which physics engine an environment has: `Engine` makes it for a model."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass

import mujoco

from motrix_gym.fields import nearest
from motrix_gym.physics.base import Physics
from motrix_gym.physics.cpu import CpuPhysics

ENGINES = ("mujoco", "warp")
ARRAYS = ("numpy", "torch")
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")
_PACKAGES = ("mujoco_warp", "warp")


@dataclass(frozen=True)
class Engine:
    """A physics engine, and where it runs.

    Attributes:
        name: ``mujoco``, on the CPU in float64, or ``warp``, MuJoCo Warp in float32.
        device: With ``warp``, Warp's name of the device, as ``cuda:0`` or ``cpu``; None for the first GPU, or else the
            CPU.
        num_threads: With ``mujoco``, the threads that step the environments; 0 is one a CPU.
        arrays: What environments take and give: ``numpy``, or, with ``warp``, ``torch``, on the device.

    Raises:
        ValueError: An engine or a device that is not known or not here, or what goes with the other engine only.
    """

    name: str = "mujoco"
    device: str | None = None
    num_threads: int = 0
    arrays: str = "numpy"

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise ValueError(f"physics {self.name!r} is not known{nearest(str(self.name), ENGINES)}")
        if self.device is not None and not (isinstance(self.device, str) and _DEVICE.fullmatch(self.device)):
            raise ValueError(f"device {self.device!r} is not known; use 'cpu', 'cuda' or 'cuda:0'")
        if self.arrays not in ARRAYS:
            raise ValueError(f"arrays {self.arrays!r} is not known{nearest(str(self.arrays), ARRAYS)}")
        if self.name == "mujoco":
            if self.arrays != "numpy":
                raise ValueError(
                    f"arrays is {self.arrays!r}; physics='mujoco' has its states in NumPy's, use physics='warp'"
                )
            if self.device not in (None, "cpu"):
                raise ValueError(f"device is {self.device!r}; physics='mujoco' runs on the CPU, use physics='warp'")
            return
        if self.num_threads:
            raise ValueError(f"num_threads is {self.num_threads}; physics='warp' has no threads, leave it out")
        if not _is_installed():
            raise ValueError("physics='warp' needs MuJoCo Warp: pip install 'motrix-gym[warp]'")
        if self.arrays == "torch":
            for package, name in (("torch", "torch"), ("array_api_compat", "array-api-compat")):
                if importlib.util.find_spec(package) is None:
                    raise ValueError(f"arrays='torch' needs a package: pip install {name}")
        _check_device(self.device)

    def physics(self, model: mujoco.MjModel, num_envs: int, control_dt: float) -> Physics:
        """N simulations of a model.

        Args:
            model: The compiled model.
            num_envs: N.
            control_dt: Seconds of one step.

        Raises:
            ValueError: The engine cannot simulate the model, or `control_dt` is no multiple of its timestep.
        """
        if self.name == "mujoco":
            return CpuPhysics(model, num_envs, self.num_threads, control_dt)
        from motrix_gym.physics.warp import WarpPhysics  # imported for those alone who ask for it: it takes a second

        return WarpPhysics(model, num_envs, self.device, control_dt, arrays=self.arrays)


def _is_installed() -> bool:
    """Whether MuJoCo Warp can be imported."""
    return all(importlib.util.find_spec(package) is not None for package in _PACKAGES)


def warp_gpus() -> int:
    """How many GPUs MuJoCo Warp can use here; 0 where it is not installed."""
    if not _is_installed():
        return 0
    import warp as wp

    wp.config.log_level = wp.LOG_WARNING  # below, it prints to standard output, where a command may write JSON
    return wp.get_cuda_device_count()


def _check_device(device: str | None) -> None:
    """Refuses a GPU that is not here."""
    gpus = warp_gpus()
    number = int(device.partition(":")[2] or 0) if device is not None and device != "cpu" else -1
    if number >= gpus:
        here = f"there are {gpus}, from cuda:0 on" if gpus else "Warp finds no GPU with CUDA here"
        raise ValueError(f"device is {device!r}; {here}; device='cpu' is slow, and for tests")
