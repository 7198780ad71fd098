"""What a policy does, to be watched: an mp4, or a PNG strip of moments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from gymnasium.vector import VectorEnv

from motrix_train import environment
from motrix_train.errors import RunError, UsageError
from motrix_train.evaluation import Policy, act
from motrix_train.run_directory import replacement

SUFFIXES = (".mp4", ".png")
MAX_FRAME_RATE = 30  # Hz; a frame drawn in software costs more than many control steps
GRID_WIDTH = 1280  # pixels
STRIP_MOMENTS = 6
STRIP_TILE = (320, 240)  # pixels


def check_path(path: Path) -> None:
    """Refuses a video that cannot be written, before anything is played.

    Raises:
        UsageError: A suffix of no known format, or no place for a file.
        RunError: The disk refuses.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--video {path}: the name must end in .mp4 (a video) or .png (a strip of moments)")
    if path.is_dir():
        raise UsageError(f"--video {path} is a directory: name a file in it")
    probe = path.with_name(f".{path.name}.probe")
    try:
        probe.touch()
        probe.unlink()
    except OSError as refusal:
        raise RunError(f"cannot write {path}: {refusal.strerror}") from refusal


def tile_size(path: Path, num_envs: int) -> tuple[int, int]:
    """Width and height in pixels, both even, of one row's picture in the video at `path`."""
    if path.suffix == ".png":
        return STRIP_TILE
    width = min(640, GRID_WIDTH // _columns(num_envs)) // 8 * 8
    return width, width * 3 // 4


def record(
    policy: Policy,
    env: VectorEnv,
    seed: int,
    steps: int,
    path: Path,
    on_progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Plays a policy in every row and writes what is seen; rows that end go on with their next episode.

    Args:
        policy: Actions for observations.
        env: Made with ``render_mode="rgb_array"``.
        seed: Of the first row.
        steps: Control steps to play.
        path: Ends in ``.mp4`` for a video in real time, all rows in a grid, or in ``.png`` for a strip: time
            to the right, a line for each row.
        on_progress: Told the share that is done.

    Raises:
        RunError: There is no OpenGL, the policy is no good or the disk refuses; nothing is written.
    """
    control_rate = round(1 / environment.task_of(env).control_dt)  # Hz
    if path.suffix == ".png":
        shown = np.linspace(0, steps, STRIP_MOMENTS).round().astype(int).tolist()
        moments = [np.concatenate(frames) for frames in _played(policy, env, seed, shown, on_progress)]
        with replacement(path) as temporary:
            _write_png(np.concatenate(moments, axis=1), temporary)
    else:
        stride = math.ceil(control_rate / MAX_FRAME_RATE)
        shown = range(0, steps + 1, stride)
        images = map(grid, _played(policy, env, seed, shown, on_progress))
        with replacement(path) as temporary:
            _write_mp4(images, temporary, control_rate / stride)


def grid(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Frames, (height, width, 3) each, side by side in a grid as square as can be, empty places black."""
    columns = _columns(len(frames))
    rows = math.ceil(len(frames) / columns)
    height, width, channels = frames[0].shape
    tiles = np.zeros((rows * columns, height, width, channels), dtype=np.uint8)
    tiles[: len(frames)] = frames
    tiles = tiles.reshape(rows, columns, height, width, channels)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


def _played(
    policy: Policy, env: VectorEnv, seed: int, shown: Sequence[int], on_progress: Callable[[float], None]
) -> Iterator[tuple[np.ndarray, ...]]:
    """The frames of all rows at the step numbers `shown`, ascending."""
    observations, _ = env.reset(seed=seed)
    step = 0
    for moment in shown:
        for _ in range(moment - step):
            observations, *_ = env.step(act(policy, observations))
        step = moment
        on_progress(step / max(1, shown[-1]))
        try:
            frames = env.render()
        except RuntimeError as refusal:
            raise RunError(str(refusal)) from refusal
        yield tuple(np.asarray(frame) for frame in frames or ())


def _write_png(image: np.ndarray, path: Path) -> None:
    from matplotlib.image import imsave

    imsave(path, image)


def _write_mp4(images: Iterator[np.ndarray], path: Path, frame_rate: float) -> None:
    import imageio_ffmpeg

    first = next(images)
    height, width, _ = first.shape
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (width, height),
        fps=frame_rate,  # pyright: ignore[reportArgumentType]  (any number will do)
        quality=7,
        macro_block_size=2,
        ffmpeg_log_level="error",
    )
    try:
        writer.send(None)
        writer.send(np.ascontiguousarray(first))
        for image in images:
            writer.send(np.ascontiguousarray(image))
    finally:
        writer.close()
