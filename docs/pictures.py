"""Draws the pictures of the pages from the live environments.

    python docs/pictures.py families --runs RUNS             docs/environments/*.png, every family
    python docs/pictures.py families reacher --policy FILE   one family
    python docs/pictures.py go1 RUN/checkpoints/best.safetensors      docs/go1.png and docs/go1_strip.png
    python docs/pictures.py terrain                          docs/terrain.png

A picture of a family has a tile for each of its ids, in the order of its page. Where there is a policy for an id, the
tile is the best moment in the first steps of the best of some episodes, by their rewards; else a beginning. Terrain is
that of the hardest level.
"""

import argparse
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from families import families, live
from matplotlib.colors import LightSource
from matplotlib.figure import Figure
from matplotlib.image import imsave
from PIL import Image

from motrix_gym import terrain
from motrix_gym.rendering import grid, strip
from motrix_train.errors import RunError, UsageError
from motrix_train.learning.policy import NumpyPolicy
from motrix_train.storage import checkpoint
from motrix_train.storage.checkpoint import Checkpoint

HERE = Path(__file__).parent
TILE = (400, 300)  # pixels
COLUMNS = 3  # at most
GAP = 4  # pixels between tiles
COLOURS = 256
RUN = "{}_torch_seed0"  # as benchmarks/learning/learn.py --keep names it
POLICIES = ("best.safetensors", "last.safetensors")
EPISODES = 8  # of which the best is shown
WATCHED = 500  # control steps
SWINGING = 130  # control steps in which a pole that hangs gets halfway up

AHEAD = [1.0, 0.0, 0.0]
SEED = 14  # of a row that heads towards the camera
SETTLED = 100  # control steps
STRIDE = 25  # control steps of the 2 Hz gait
MOMENTS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("families", help="the pictures of docs/environments")
    command.add_argument("names", nargs="*", type=family, metavar="FAMILY", help="by default all")
    command.add_argument("--runs", type=Path, help="folder of runs, as `benchmarks/learning/learn.py --keep` leaves it")
    command.add_argument("--policy", type=Path, action="append", default=[], help="a policy, instead of that in RUNS")
    command.set_defaults(draw=lambda args: draw_families(args.names or families(), policies(args.runs, args.policy)))

    command = commands.add_parser("go1", help="docs/go1.png and docs/go1_strip.png")
    command.add_argument("policy", type=Path, help="a trained policy of Motrix/Go1-v0")
    command.set_defaults(draw=lambda args: draw_go1(checkpoint.read(args.policy)))

    command = commands.add_parser("terrain", help="docs/terrain.png")
    command.set_defaults(draw=lambda args: draw_terrain())

    args = parser.parse_args()
    try:
        args.draw(args)
    except (UsageError, RunError) as refusal:
        parser.error(str(refusal))


def family(name: str) -> str:
    """The name of a page in docs/environments."""
    if name not in families():
        raise argparse.ArgumentTypeError(f"there is no family {name!r}; the families are {', '.join(families())}")
    return name


def policies(runs: Path | None, files: Iterable[Path]) -> dict[str, Checkpoint]:
    """The policies by the id that each was trained for."""
    ids = [env.id for envs in families().values() for env in envs]
    folders = [runs / RUN.format(id.rpartition("/")[2]) / "checkpoints" for id in ids] if runs else []
    found = [next((folder / name for name in POLICIES if (folder / name).exists()), None) for folder in folders]
    read = [checkpoint.read(path) for path in [*found, *files] if path]
    return {saved.env_id: saved for saved in read}


def draw_families(names: Iterable[str], trained: dict[str, Checkpoint]) -> None:
    """One picture for each family, a tile for each id, in the order of the family's page."""
    for name in names:
        steps = SWINGING if name == "cartpole_suite" else WATCHED
        tiles = [tile for env in families()[name] for tile in moments(env.id, trained.get(env.id), steps)]
        lines = math.ceil(len(tiles) / COLUMNS)
        columns = math.ceil(len(tiles) / lines)
        tiles += [np.full_like(tiles[0], 255)] * (lines * columns - len(tiles))
        framed = [np.pad(tile, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for tile in tiles]
        picture = Image.fromarray(grid(framed, columns)[:-GAP, :-GAP])
        path = HERE / "environments" / f"{name}.png"
        picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        shown = ", ".join(env.id for env in families()[name] if env.id in trained) or "none"
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB; trained: {shown}")


def moments(env_id: str, trained: Checkpoint | None, steps: int) -> list[np.ndarray]:
    """The frame to show of an environment, or of each task that it joins."""
    tasks = len(live(env_id).task_names) or 1
    rows = tasks * EPISODES
    hardest: dict[str, Any] = {"terrain_levels": 1} if getattr(live(env_id).task, "terrain", {}) else {}
    envs = gymnasium.make_vec(
        env_id, num_envs=rows, num_threads=1, render_mode="rgb_array", render_size=TILE, **hardest
    )
    robots: Any = envs.unwrapped
    observations, _ = envs.reset(seed=0)
    states, rewards, task = [robots.get_state()], [np.zeros(rows)], np.arange(rows) % tasks
    if trained:
        policy = NumpyPolicy(trained)
        for _ in range(steps):
            observations, reward, terminated, truncated, info = envs.step(policy(observations))
            states.append(robots.get_state())
            rewards.append(np.where(terminated | truncated, -np.inf, reward))
            task = info.get("task", task)
    frames = []
    for k in range(tasks):
        [candidates] = np.nonzero(task == k)
        row = candidates[np.sum(rewards, axis=0)[candidates].argmax()]
        last_best = max(range(len(states)), key=lambda step, row=row: (rewards[step][row], step))
        robots.set_state(states[last_best])
        frames += robots.render_envs([row])
    envs.close()
    return frames


def draw_go1(trained: Checkpoint) -> None:
    """A robot told to walk ahead at 1 m/s: one moment, and a strip of one stride in six."""
    policy = NumpyPolicy(trained)
    envs = gymnasium.make_vec(
        trained.env_id,
        num_envs=1,
        render_mode="rgb_array",
        render_size=[800, 500],
        command_low=AHEAD,
        command_high=AHEAD,
        still_probability=0.0,
    )
    robot: Any = envs.unwrapped
    observations, _ = envs.reset(seed=SEED)
    moments = SETTLED + np.linspace(0, STRIDE, MOMENTS, endpoint=False).round().astype(int)
    frames = []
    for step in range(moments[-1] + 1):
        if step in moments:
            frames += robot.render_envs([0])
        observations, *_ = envs.step(policy(observations))
    imsave(HERE / "go1.png", frames[0])
    imsave(HERE / "go1_strip.png", strip([frame[40:480:2, 120:680:2] for frame in frames], MOMENTS))


def draw_terrain() -> None:
    """The ground of every kind, a column for each level, as a relief from above."""
    sizes = {"noise": 0.12, "slope_up": 0.4, "slope_down": 0.4, "stairs_up": 0.15, "stairs_down": 0.15, "blocks": 0.15}
    ground = terrain.generate(sizes, levels=6, seed=0)
    x, y = ground.half_size
    figure = Figure(figsize=(7, 6.2), layout="constrained")
    axis = figure.add_subplot()
    relief = LightSource(azdeg=315, altdeg=45).hillshade(ground.heights, dx=ground.cell, dy=ground.cell, vert_exag=2)
    axis.imshow(relief, cmap="gray", origin="lower", extent=(-x, x, -y, y), vmin=0, vmax=1)
    heights = axis.imshow(ground.heights, cmap="RdYlBu_r", origin="lower", extent=(-x, x, -y, y), alpha=0.45)
    figure.colorbar(heights, ax=axis, shrink=0.7, label="height, m")
    axis.set_yticks(ground.middles[0, :, 1], [f"{kind}\n{size:g}" for kind, size in sizes.items()])
    axis.set_xticks(ground.middles[:, 0, 0], [str(level) for level in range(len(ground.middles))])
    axis.set_xlabel("level")
    axis.tick_params(length=0, labelsize=8)
    figure.savefig(HERE / "terrain.png", dpi=100)


if __name__ == "__main__":
    main()
