"""What the policy sees of a task: which blocks, and those of how many steps.

A frame is what it sees of one instant: the observed blocks with their noise, joined in the task's order, (N, k). An
observation has `Task.history` frames, (N, history * k). It is joined block by block, and within a block from the oldest
frame to the newest: with the blocks a and b and a history of 3 it is a a a b b b. At a reset all frames are the first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from motrix_gym import arrays as xp
from motrix_gym.fields import nearest
from motrix_gym.state import Array, PhysicsState, State, consecutive
from motrix_gym.symmetry import Mirror
from motrix_gym.task import Task


def check_observed(observed: Sequence[str] | None, blocks: Collection[str]) -> None:
    """Refuses a `Task.observed` that does not name blocks of the observation, each once, in their order."""
    if observed is None:
        return
    if not observed:
        raise ValueError("observed names no block; name one or more, or leave it out to observe all")
    for name in observed:
        if name not in blocks:
            raise ValueError(f"observed names a block {name!r}{nearest(name, blocks)}")
        if observed.count(name) > 1:
            raise ValueError(f"observed names the block {name!r} more than once; name it once")
    ordered = [name for name in blocks if name in observed]
    if list(observed) != ordered:
        raise ValueError(
            f"observed has the blocks in the order {', '.join(observed)}; give them in the task's: {', '.join(ordered)}"
        )


def observation(task: Task, state: State) -> Array:
    """The observation of N environments, (N, history * k) float32."""
    blocks = _seen(task, state)
    frame = _joined(blocks)
    if task.history == 1:
        return frame
    frames = xp.concat([state.past_observations, frame[:, None, :]], axis=1)  # (N, history, k)
    places = consecutive({name: x.shape[1] for name, x in blocks.items()})
    return xp.concat([xp.reshape(frames[:, :, at], (frames.shape[0], -1)) for at in places.values()], axis=1)


def with_noise(task: Task, physics: PhysicsState, state: Any) -> dict[str, Array]:
    """All blocks of one step with their noise, each (N, k)."""
    blocks, noise = task.observe(physics, state), task.noise(state)
    return {name: x + noise[name] if name in noise else x for name, x in blocks.items()}


def unobserved(task: Task, state: State) -> list[Array]:
    """The blocks that the policy does not see, without noise, each (N, k)."""
    if task.observed is None:
        return []
    blocks = task.observe(state.physics, state.task)
    return [x for name, x in blocks.items() if name not in task.observed]


def first_past(task: Task, state: State) -> Array:
    """The past frames of episodes that begin in a state, (N, history - 1, k): the first frame, again and again."""
    if task.history == 1:
        return xp.single(xp.zeros((state.elapsed.shape[0], 0, 0), state.physics.qpos))
    return xp.tile(_joined(_seen(task, state))[:, None, :], (1, task.history - 1, 1))


def next_past(task: Task, state: State) -> Array:
    """The past frames one step after a state, (N, history - 1, k): without the oldest, with that of the state."""
    if task.history == 1:
        return state.past_observations
    return xp.concat([state.past_observations[:, 1:, :], _joined(_seen(task, state))[:, None, :]], axis=1)


def block_columns(task: Task, widths: Mapping[str, int]) -> dict[str, slice]:
    """The columns of each block in the observation, by name, from the width of each block that `Task.observe` gives."""
    return consecutive({name: task.history * width for name, width in widths.items() if _is_seen(task, name)})


def observation_mirror(task: Task) -> Mirror | None:
    """The reflection of a task whose observation is that of the policy; None where the task has none."""
    mirror = task.mirror()
    if mirror is None:
        return None
    blocks = {name: flip for name, flip in mirror.blocks.items() if _is_seen(task, name)}
    return replace(mirror, blocks=blocks, history=task.history)


def _is_seen(task: Task, block: str) -> bool:
    return task.observed is None or block in task.observed


def _seen(task: Task, state: State) -> dict[str, Array]:
    """The observed blocks with their noise, each (N, k)."""
    return {name: x for name, x in with_noise(task, state.physics, state.task).items() if _is_seen(task, name)}


def _joined(blocks: Mapping[str, Array]) -> Array:
    return xp.single(xp.concat(list(blocks.values()), axis=1))
