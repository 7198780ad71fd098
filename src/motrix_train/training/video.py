"""Films a policy: as an mp4 video, as a PNG strip of moments, and regularly during its training."""

from __future__ import annotations

import contextlib
import itertools
import math
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from motrix_gym.rendering import grid
from motrix_train import env_protocol, environment
from motrix_train.errors import RunError, UsageError
from motrix_train.operating_system import OWN_GROUP
from motrix_train.storage.files import atomic_replace
from motrix_train.training.callbacks import Callback
from motrix_train.training.evaluation import PolicyFunction, act, first_env_seed
from motrix_train.training.records import RolloutStats, TrainingPlan

SUFFIXES = (".mp4", ".png")
FRAME_RATE = 30  # Hz, of an environment whose step has no known length; Gymnasium's own default
MAX_FRAME_RATE = 30  # Hz; a frame drawn in software costs more than many control steps
GRID_WIDTH = 1280  # pixels
STRIP_MOMENTS = 6
STRIP_TILE = (320, 240)  # pixels
TRAINING_ROWS = 4
TRAINING_SECONDS = 5.0
TRAINING_WIDTH = 640  # pixels


def check_path(path: Path) -> None:
    """Refuses a path that no video can be written to, before anything is played.

    Raises:
        UsageError: The suffix is not of a known format, or the path is a directory.
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


def film_policy(
    policy: PolicyFunction,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    path: Path,
    *,
    num_envs: int,
    seconds: float,
    steps: int | None = None,
    seed: int = 0,
    width: int = GRID_WIDTH,
    size: tuple[int, int] | None = None,
    camera: str | None = None,
    num_threads: int = 0,
    on_progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Plays a policy in fresh environments, which go on after the end of an episode, and writes the pictures.

    Args:
        policy: Actions for observations.
        env_id: Registered id.
        env_kwargs: Fields of the task.
        path: Ends in ``.mp4`` for a video in real time with all environments in a grid, or in ``.png`` for a strip with
            time to the right and a line for each environment.
        num_envs: Number of environments.
        seconds: Length, in simulated time.
        steps: Length in control steps, None for `seconds`.
        seed: Of the episodes.
        width: Largest width of the grid of a video, pixels.
        size: Width and height of each environment's picture in pixels, None for one that fits into the grid.
        camera: Name of a camera of the model, None for the environment's default.
        num_threads: Physics threads, 0 for all CPUs.
        on_progress: Called with the share that is done.

    Raises:
        UsageError: The environment cannot be made.
        RunError: There is no OpenGL, the actions are not finite, or the disk refuses; nothing is written.
    """
    tile = size or (STRIP_TILE if path.suffix == ".png" else _tile_size(num_envs, width))
    with closing(_visible(env_id, env_kwargs, num_envs, tile, num_threads, camera)) as env:
        control_dt = env_protocol.step_seconds(env) or 1 / FRAME_RATE
        steps = steps or max(1, round(seconds / control_dt))
        if path.suffix == ".png":
            shown = np.linspace(0, steps, STRIP_MOMENTS).round().astype(int).tolist()
            moments = list(_played(policy, env, seed, shown, on_progress))
            frames = [frame for of_env in zip(*moments, strict=True) for frame in of_env]
            with atomic_replace(path) as temporary:
                _write_png(grid(frames, columns=STRIP_MOMENTS), temporary)
        else:
            stride = math.ceil(1 / control_dt / MAX_FRAME_RATE)
            shown = range(0, steps + 1, stride)
            images = (grid(frames, _columns(len(frames))) for frames in _played(policy, env, seed, shown, on_progress))
            with atomic_replace(path) as temporary:
                _write_mp4(images, temporary, 1 / control_dt / stride)


class TrainingVideos(Callback):
    """Films the policy in training, always in the same episodes, as ``videos/step_<env steps>.mp4``.

    Args:
        every: Number of checkpoints from one video to the next.
        env_id: Registered id.
        env_kwargs: Fields of the task.
        num_threads: Physics threads, 0 for all CPUs.

    Raises:
        UsageError: The environment cannot be made, or cannot be drawn.
        RunError: There is no OpenGL.
    """

    def __init__(self, every: int, env_id: str, env_kwargs: Mapping[str, Any], num_threads: int = 0) -> None:
        self._every, self._env_id, self._env_kwargs, self._num_threads = every, env_id, env_kwargs, num_threads
        with closing(_visible(env_id, env_kwargs, num_envs=1, size=STRIP_TILE)) as env:
            env.reset(seed=0)
            _frames(env)

    def started(self, plan: TrainingPlan) -> None:
        """Starts to count from the present checkpoint."""
        plan.run.update_config(video_every=self._every)
        self._plan, self._env_steps = plan, plan.env_steps
        self._filmed = self._due()

    def rollout(self, stats: RolloutStats) -> None:
        """Keeps the number of env steps."""
        self._env_steps = stats.env_steps

    def checkpoint_written(self, path: Path) -> None:
        """Films after ``last``, so that a run that is killed while it films is resumed from here."""
        if path.stem == "last" and self._due() > self._filmed:
            self._filmed = self._due()
            target = self._plan.run.videos / f"step_{self._env_steps}.mp4"
            target.parent.mkdir(exist_ok=True)
            film_policy(
                self._plan.policy,
                self._env_id,
                self._env_kwargs,
                target,
                num_envs=TRAINING_ROWS,
                seconds=TRAINING_SECONDS,
                width=TRAINING_WIDTH,
                num_threads=self._num_threads,
            )

    def _due(self) -> int:
        """Number of videos that the run should have by now."""
        vector_steps = self._env_steps // (self._plan.cfg.num_envs * self._plan.workers)
        return vector_steps // (self._every * self._plan.cfg.check_point_interval)


def _visible(
    env_id: str,
    env_kwargs: Mapping[str, Any],
    num_envs: int,
    size: tuple[int, int],
    num_threads: int = 0,
    camera: str | None = None,
) -> VectorEnv:
    """An environment that can be drawn, with pictures of this `size` for each environment where it can be chosen."""
    chosen = {"render_camera": camera} if camera else {}
    try:
        return environment.make_env(
            env_id, num_envs, env_kwargs, num_threads, render_mode="rgb_array", render_size=size, **chosen
        )
    except UsageError as refusal:
        if "render_size" not in str(refusal):
            raise
    return environment.make_env(env_id, num_envs, env_kwargs, num_threads, render_mode="rgb_array", **chosen)


def _tile_size(num_envs: int, width: int) -> tuple[int, int]:
    """Width and height in pixels, both even, of each environment's picture in a grid of this width."""
    tile = min(640, width // _columns(num_envs)) // 8 * 8
    return tile, tile * 3 // 4


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


def _played(
    policy: PolicyFunction, env: VectorEnv, seed: int, shown: Sequence[int], on_progress: Callable[[float], None]
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields the pictures of all environments at the step numbers `shown`, which ascend."""
    observations, _ = env.reset(seed=first_env_seed(seed))
    step = 0
    for moment in shown:
        for _ in range(moment - step):
            observations, *_ = env.step(act(policy, observations))
        step = moment
        on_progress(step / max(1, shown[-1]))
        yield _frames(env)


def _frames(env: VectorEnv) -> tuple[np.ndarray, ...]:
    """A picture of every environment, (h, w, 3) uint8 each, or one of all where the vector environment draws them
    together.

    Raises:
        RunError: The environment cannot be drawn.
    """
    try:
        frames = env.render()
    except Exception as refusal:  # an environment of another package may raise anything
        raise RunError(str(refusal) or f"the environment cannot be drawn: {refusal!r}") from refusal
    if frames is None:
        raise RunError("the environment cannot be drawn: its render() gives None with render_mode='rgb_array'")
    together = isinstance(frames, np.ndarray) and frames.ndim == 3
    pictures = tuple(np.asarray(frame) for frame in ([frames] if together else frames))
    if {(x.ndim, x.shape[-1:], x.dtype.name) for x in pictures} != {(3, (3,), "uint8")}:
        kinds = sorted({f"{x.shape} {x.dtype}" for x in pictures}) or ["nothing"]
        raise RunError(f"the environment cannot be drawn: its render() gives {', '.join(kinds)}, not (h, w, 3) uint8")
    return pictures


def _write_png(image: np.ndarray, path: Path) -> None:
    from matplotlib.image import imsave

    imsave(path, image)


def _write_mp4(images: Iterator[np.ndarray], path: Path, frame_rate: float) -> None:
    from imageio_ffmpeg import get_ffmpeg_exe

    first = next(images)
    height, width, _ = first.shape
    even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"]  # H.264 halves the colours' resolution
    frames = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(frame_rate), "-i", "-"]
    coding = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-movflags", "+faststart"]
    # in its own process group, the encoder does not receive Ctrl-C
    with subprocess.Popen(
        [get_ffmpeg_exe(), "-y", "-loglevel", "error", *frames, *even, *coding, str(path)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
        creationflags=OWN_GROUP,
    ) as ffmpeg:
        assert ffmpeg.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the encoder has ended, and its stderr has the reason
            for image in itertools.chain([first], images):
                ffmpeg.stdin.write(image.tobytes())
        _, complaint = ffmpeg.communicate()
    if ffmpeg.returncode:
        raise OSError(complaint.decode(errors="replace").strip())
