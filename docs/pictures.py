"""Draws docs/go1.png and docs/go1_strip.png from a trained policy: `python docs/pictures.py RUN/checkpoints/best.pt`.

The robot is told to walk ahead at 1 m/s. The picture is of one moment, the strip of one stride in six.
"""

import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from matplotlib.image import imsave

import motrix_gym  # noqa: F401  registers the ids
from motrix_gym.rendering import strip
from motrix_train import backend, checkpoint

HERE = Path(__file__).parent
AHEAD = [1.0, 0.0, 0.0]
SEED = 14  # of a row that heads towards the camera
SETTLED = 100  # control steps
STRIDE = 25  # control steps of the 2 Hz gait
MOMENTS = 6


def main(path: Path) -> None:
    saved = checkpoint.read(path)
    policy = backend.select(saved.backend).policy(saved, "cpu")
    envs = gymnasium.make_vec(
        saved.env_id,
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
            frames += robot.render_rows([0])
        observations, *_ = envs.step(policy(observations))
    imsave(HERE / "go1.png", frames[0])
    imsave(HERE / "go1_strip.png", strip([frame[40:480:2, 120:680:2] for frame in frames], MOMENTS))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
