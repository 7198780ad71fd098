"""Robot environments on MuJoCo as ordinary Gymnasium registrations; importing it registers every id.

>>> import gymnasium, motrix_gym
>>> env = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=2)
>>> env.reset(seed=0)[0].shape
(2, 4)
"""

import os

try:
    import mujoco
except Exception:
    if "MUJOCO_GL" not in os.environ:
        raise
    # MuJoCo looks for the OpenGL of this name as soon as it is imported. Without it there is all but pictures, which
    # say so themselves.
    _asked = os.environ["MUJOCO_GL"]
    os.environ["MUJOCO_GL"] = "disable"
    try:
        import mujoco  # noqa: F401
    finally:
        os.environ["MUJOCO_GL"] = _asked

from motrix_gym.registration import register_all

register_all()
