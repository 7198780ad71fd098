"""Films trained policies for the gallery, and draws a still of each id that has none.

    python docs/clips.py --runs RUNS                       docs/clips/*, every id
    python docs/clips.py Motrix/Go1-v0 --policy FILE       one of them

A clip is a looping WebP of the first seconds of an ordinary episode: the median of some, by their rewards. Robots that
follow a velocity command walk ahead, and no goal is where the robot already is. Terrain is that of the hardest level.
Every task of an environment that joins some has a tile.
"""

import argparse
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from families import live
from pictures import AHEAD, COLOURS, policies
from PIL import Image

import motrix_train
from motrix_gym.registration import ENVS
from motrix_gym.rendering import grid
from motrix_gym.tasks.locomotion.velocity import VelocityTask
from motrix_gym.tasks.navigation.goal import AnymalCNavigation
from motrix_train import pretrained
from motrix_train.errors import RunError, UsageError
from motrix_train.learning.policy import NumpyPolicy
from motrix_train.storage.checkpoint import Checkpoint

CLIPS = Path(__file__).parent / "clips"
TILE = (320, 240)  # pixels
SECONDS = 4.0
OTHER_SECONDS = {
    "CartPoleSwingup-v0": 8.0,
    "Pendulum-v0": 8.0,
    "Acrobot-v0": 8.0,
    "FishSwim-v0": 12.0,
    "Swimmer6-v0": 10.0,
    "AnymalCNavigation-v0": 8.0,
    "MultiTask-v0": 2.6,  # two tiles
}
FRAME_RATE = 25.0  # Hz, at most
EPISODES = 9  # of which the median is shown
MOST_BYTES = min(300_000, 8_000_000 // len(ENVS))
TRIALS = ((1, 80), (1, 60), (1, 40), (2, 60), (2, 40), (3, 40), (3, 20))  # every so many frames, WebP's quality

Policy = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    ids = [env.id for env in ENVS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", nargs="*", metavar="ENV", help="by default all")
    parser.add_argument("--runs", type=Path, help="folder of runs, as `benchmarks/learning/learn.py --keep` leaves it")
    parser.add_argument("--policy", type=Path, action="append", default=[], help="a policy, instead of that in RUNS")
    args = parser.parse_args()
    if unknown := set(args.ids) - set(ids):
        parser.error(f"there is no {', '.join(sorted(unknown))}; the ids are {', '.join(ids)}")
    try:
        saved = policies(args.runs, args.policy)
        for env_id in args.ids or ids:
            path = show(env_id, ready_made(env_id, saved))
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    except (UsageError, RunError) as refusal:
        parser.error(str(refusal))


def ready_made(env_id: str, saved: Mapping[str, Checkpoint]) -> Policy | None:
    """The trained policy of an id, (N, k) observations to (N, m) actions; None where there is none."""
    if env_id in saved:
        return NumpyPolicy(saved[env_id])
    return motrix_train.load_policy(env_id) if env_id in pretrained.index() else None


def show(env_id: str, policy: Policy | None) -> Path:
    """Writes the clip of an id; without a policy its still, if it has no clip."""
    name = env_id.rpartition("/")[2]
    clip, still = CLIPS / f"{name}.webp", CLIPS / f"{name}.png"
    CLIPS.mkdir(exist_ok=True)
    if policy is None and clip.exists():
        return clip
    if policy is None:
        [frame] = film(env_id, None, seconds=0.0)
        Image.fromarray(frame).quantize(COLOURS, dither=Image.Dither.NONE).save(still, optimize=True)
        return still
    clip.write_bytes(looping(film(env_id, policy, OTHER_SECONDS.get(name, SECONDS)), frame_seconds(env_id)))
    still.unlink(missing_ok=True)
    return clip


def film(env_id: str, policy: Policy | None, seconds: float) -> list[np.ndarray]:
    """The frames of an ordinary episode of each task that the environment joins; one frame for 0 s.

    Args:
        env_id: Of this project.
        policy: Actions (N, m) for observations (N, k); None for seconds of 0.
        seconds: Simulated time.

    Returns:
        Frames (height, width, 3) uint8, `frame_seconds` apart.
    """
    tasks = len(live(env_id).task_names) or 1
    rows = tasks * EPISODES
    envs = gymnasium.make_vec(
        env_id, num_envs=rows, num_threads=1, render_mode="rgb_array", render_size=TILE, **shown_fields(env_id)
    )
    robots: Any = envs.unwrapped
    every = steps_between_frames(env_id)
    observations, _ = envs.reset(seed=0)
    states, earned, task = [robots.get_state()], np.zeros(rows), np.arange(rows) % tasks
    for step in range(1, round(seconds / live(env_id).task.control_dt) + 1):
        assert policy is not None
        observations, rewards, terminated, truncated, info = envs.step(policy(observations))
        earned += np.where(terminated | truncated, -np.inf, rewards)
        task = info.get("task", task)
        if step % every == 0:
            states.append(robots.get_state())
    ordinary = [sorted(np.flatnonzero(task == k), key=lambda row: earned[row])[EPISODES // 2] for k in range(tasks)]
    frames = []
    for state in states:
        robots.set_state(state)
        frames.append(grid(robots.render_envs(ordinary)))
    envs.close()
    return frames


def shown_fields(env_id: str) -> dict[str, Any]:
    """The fields of an environment in which it is filmed."""
    task = live(env_id).task
    fields: dict[str, Any] = {}
    if isinstance(task, VelocityTask):
        fields |= {"still_probability": 0.0}
        fields |= {"terrain_levels": 1} if task.terrain else {}
        fields |= {"command_low": AHEAD, "command_high": AHEAD} if not isinstance(task, AnymalCNavigation) else {}
    return fields


def steps_between_frames(env_id: str) -> int:
    """Control steps from one frame to the next."""
    return max(1, round(1 / (FRAME_RATE * live(env_id).task.control_dt)))


def frame_seconds(env_id: str) -> float:
    """Simulated time from one frame to the next, s."""
    return steps_between_frames(env_id) * live(env_id).task.control_dt


def looping(frames: Iterable[np.ndarray], seconds: float) -> bytes:
    """A WebP that plays for ever, as smooth and as fine as its bytes allow.

    Args:
        frames: (height, width, 3) uint8.
        seconds: From one frame to the next.

    Raises:
        RunError: It is too long to be small enough.
    """
    pictures, file = [Image.fromarray(frame) for frame in frames], io.BytesIO()
    for every, quality in TRIALS:
        first, *others = pictures[::every]
        milliseconds = round(1000 * seconds * every)
        file = io.BytesIO()
        first.save(file, "WEBP", save_all=True, append_images=others, duration=milliseconds, loop=0, quality=quality)
        if file.tell() <= MOST_BYTES:
            return file.getvalue()
    raise RunError(f"{len(pictures)} frames have {file.tell():,} bytes, more than {MOST_BYTES:,}: film a shorter time")


if __name__ == "__main__":
    main()
