"""The trajectories of rows, told alike whatever the number of rows and the autoreset mode."""

from collections.abc import Collection, Sequence

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

Event = dict[str, np.ndarray]
GROUPS = ("reward_terms", "termination", "metrics")


def actions_for(env_id: str, num_rows: int, num_actions: int, seed: int = 0) -> np.ndarray:
    """Random actions over the whole action space and a little beyond, (num_actions, num_rows, m)."""
    space = gymnasium.make_vec(env_id, num_envs=1, num_threads=1).single_action_space
    unit = np.random.default_rng(seed).uniform(-0.1, 1.1, (num_rows, num_actions, *space.shape))
    return (space.low + (space.high - space.low) * unit).transpose(1, 0, 2)


def play(
    env: VectorEnv,
    seed: int | Sequence[int],
    actions: np.ndarray,
    resets: Collection[tuple[int, int]] = (),
) -> list[list[Event]]:
    """What each row began with and what each of its actions led to.

    Args:
        env: The environment.
        seed: Of the first reset.
        actions: (K, N, m), the k-th action of each row.
        resets: (row, k): the row is reset, by a mask, before its k-th action.

    Returns:
        The events of each row in order: ``{"begin": observation}`` or what an action led to.
    """
    mode, num_rows = env.metadata["autoreset_mode"], env.num_envs
    todo = set(resets)
    taken = np.zeros(num_rows, dtype=int)
    waiting = np.zeros(num_rows, dtype=bool)
    observation, _ = env.reset(seed=seed)
    events: list[list[Event]] = [[{"begin": observation[row]}] for row in range(num_rows)]
    while (taken < len(actions)).any():
        due = [row for row in range(num_rows) if (row, int(taken[row])) in todo and not waiting[row]]
        if due:
            todo -= {(row, int(taken[row])) for row in due}
            mask = np.isin(np.arange(num_rows), due)
            observation, _ = env.reset(options={"reset_mask": mask})
            for row in due:
                events[row].append({"begin": observation[row]})
        action = actions[np.minimum(taken, len(actions) - 1), np.arange(num_rows)]
        observation, reward, terminated, truncated, info = env.step(action)
        ended = terminated | truncated
        for row in range(num_rows):
            if waiting[row]:
                events[row].append({"begin": observation[row]})
                continue
            final = ended[row] and mode is AutoresetMode.SAME_STEP
            event = {
                "observation": info["final_obs"][row] if final else observation[row],
                "reward": reward[row],
                "terminated": terminated[row],
                "truncated": truncated[row],
            }
            event |= {f"{group}.{name}": x for group in GROUPS for name, x in of_row(info[group], row).items()}
            if "success" in info and info["_success"][row]:
                event["success"] = info["success"][row]
            events[row].append(event)
            if final:
                events[row].append({"begin": observation[row]})
            taken[row] += 1
        if mode is AutoresetMode.DISABLED and ended.any():
            observation, _ = env.reset(options={"reset_mask": ended})
            for row in np.flatnonzero(ended):
                events[row].append({"begin": observation[row]})
        waiting = ended & (mode is AutoresetMode.NEXT_STEP)
    return [_until(row_events, len(actions)) for row_events in events]


def of_row(group: dict[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    """What a group of an info says of a row, which is what its masks leave."""
    names = [name for name in group if not name.startswith("_") and (f"_{name}" not in group or group[f"_{name}"][row])]
    return {name: group[name][row] for name in names}


def assert_same(expected: Sequence[Event], found: Sequence[Event]) -> None:
    """The events of two rows are equal, bit for bit."""
    assert len(expected) == len(found)
    for k, (a, b) in enumerate(zip(expected, found, strict=True)):
        assert a.keys() == b.keys(), f"event {k}"
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=f"{name} of event {k}")


def _until(events: list[Event], num_actions: int) -> list[Event]:
    """The events up to that of the last action; a slow row's neighbours go on acting."""
    acted = [k for k, event in enumerate(events) if "reward" in event]
    return events[: acted[num_actions - 1] + 1]
