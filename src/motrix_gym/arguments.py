"""What a vector environment is given by its users, checked: each function returns the value or refuses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from motrix_gym import arrays as xp
from motrix_gym import rows
from motrix_gym.arrays import Array
from motrix_gym.fields import nearest, plain


def whole_number(name: str, value: Any, at_least: int) -> int:
    """An integer of at least so much."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise ValueError(f"{name} is {value!r}; it takes an integer of at least {at_least}")
    return int(value)


def time_limit(max_episode_steps: int | None) -> int | None:
    """A time limit in steps; None, or -1 as in `gymnasium.make`, for none."""
    if max_episode_steps is None or (max_episode_steps == -1 and isinstance(max_episode_steps, (int, np.integer))):
        return None
    return whole_number("max_episode_steps", max_episode_steps, at_least=1)


def autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """An autoreset mode, from itself or its value."""
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = ", ".join(repr(m.value) for m in AutoresetMode)
        raise ValueError(f"autoreset_mode {mode!r} is not known; use one of {known}") from None


def render_mode(mode: str | None) -> str | None:
    """None or "rgb_array"."""
    if mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode {mode!r} is not known; use 'rgb_array' or None")
    return mode


def render_size(size: Any) -> tuple[int, int]:
    """Width and height in pixels."""
    size = plain(size)
    if not isinstance(size, tuple) or len(size) != 2:
        raise ValueError(f"render_size is {size!r}; it takes a width and a height in pixels")
    width, height = (whole_number("render_size", x, at_least=1) for x in size)
    return width, height


def seeds(seed: int | Sequence[int | None], num_envs: int) -> list[int | None]:
    """The seed of each environment; None leaves a random stream as it is."""
    if not isinstance(seed, (Sequence, np.ndarray)):
        first = whole_number("seed", seed, at_least=0)
        return [first + env for env in range(num_envs)]
    if len(seed) != num_envs:
        raise ValueError(f"seed has {len(seed)} entries for {num_envs} environments; give one integer, or one for each")
    return [None if s is None else whole_number(f"seed[{env}]", s, at_least=0) for env, s in enumerate(seed)]


def actions(given: Any, space: gym.spaces.Box, num_envs: int) -> np.ndarray:
    """Actions (N, m), clipped to the action space of one environment."""
    action = np.asarray(given, dtype=np.float64)
    if action.shape != (num_envs, *space.shape):
        raise ValueError(f"actions have shape {action.shape}; {num_envs} environments take {(num_envs, *space.shape)}")
    refuse_nan(nan_in(action))
    return np.clip(action, space.low, space.high)


def tensor_actions(given: Any, space: gym.spaces.Box, num_envs: int, example: Array) -> Array:
    """Actions (N, m) in a tensor of the dtype of `example` and on its device, clipped; NaN stays NaN: see `nan_in`."""
    if type(given) is not type(example) or given.device != example.device:
        device = f" on {given.device}" if hasattr(given, "device") else ""
        raise ValueError(
            f"actions are a {type(given).__module__}.{type(given).__name__}{device}; with arrays='torch' they are a "
            f"torch.Tensor on {example.device}, as torch.as_tensor(actions, device={str(example.device)!r})"
        )
    if given.shape != (num_envs, *space.shape):
        shape = tuple(given.shape)
        raise ValueError(f"actions have shape {shape}; {num_envs} environments take {(num_envs, *space.shape)}")
    without_gradient: Any = given
    action = rows.in_dtype_of(without_gradient.detach(), example)
    return xp.clip(action, xp.like(space.low, example), xp.like(space.high, example))


def nan_in(action: Array) -> Array:
    """The environments, (N,) bool, whose action, (N, m), has a NaN."""
    return xp.any(action != action, axis=1)  # NaN alone differs from itself


def refuse_nan(nan: Array) -> None:
    """Refuses actions if a mask, (N,) bool, marks those of an environment as NaN."""
    if nan.any():
        raise ValueError(f"actions of environments {some(nan)} are NaN; look at the policy that gave them")


def reset_mask(options: dict[str, Any] | None, num_envs: int, example: Array) -> np.ndarray:
    """The environments that a reset is for, (N,) bool: those of ``options["reset_mask"]``, or all.

    Where `example` is a tensor, the mask may be one.
    """
    known_options(options, known=("reset_mask",))
    mask = None if options is None else options.get("reset_mask")
    if mask is None:
        return np.ones(num_envs, dtype=bool)
    if type(mask) is type(example):
        mask = rows.to_host(mask)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,):
        raise ValueError(f"reset_mask is {described(mask)}; it takes a NumPy array of {num_envs} bools")
    if not mask.any():
        raise ValueError("reset_mask has no True: it would reset nothing")
    return mask


def known_options(options: Any, known: tuple[str, ...] = ()) -> None:
    """Refuses options of `reset` that it would not look at."""
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"options is {options!r}; it takes a dictionary or None")
    for name in options or ():
        if name not in known:
            known_ones = nearest(str(name), known) if known else "; a single environment takes none"
            raise ValueError(f"reset() has no option {name!r}{known_ones}")


def saved_state(state: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray]) -> None:
    """Refuses a saved state whose arrays are not like those of `own`, the state of this environment."""
    for name in own.keys() | state.keys():
        needed, given = (described(s.get(name)) for s in (own, state))
        if needed != given:
            raise ValueError(
                f"state {name!r} is {given}, this environment needs {needed}; "
                "restore it with the task, the kwargs and the num_envs it was saved with"
            )


def described(x: Any) -> str:
    """A value as an error names it."""
    return f"an array {x.dtype} {x.shape}" if isinstance(x, np.ndarray) else repr(x)


def some(mask: Array) -> str:
    """The first environments that a mask, (N,) bool, marks, as an error names them."""
    envs = np.flatnonzero(rows.to_host(mask))
    return ", ".join(map(str, envs[:5])) + (", ..." if len(envs) > 5 else "")
