"""Leads a Panda by differential inverse kinematics, with MuJoCo's Jacobians."""

import mujoco
import numpy as np

from motrix_gym.tasks.manipulation.panda import PandaTask

DAMPING = 1e-3  # of the least squares: near a singular pose joints move less
FARTHEST = 0.08, 0.3  # m and rad that a step aims ahead
DOWN = np.array([0.0, 0.0, -1.0])


class Guide:
    """What the arm of one row has to do in its next step to come to where it is led.

    Args:
        task: The task, for its model and how fast actions move its targets.
    """

    def __init__(self, task: PandaTask) -> None:
        self.model = task.model()
        self.data = mujoco.MjData(self.model)
        self._step = task.joint_speed * task.control_dt

    def see(self, qpos: np.ndarray) -> None:
        """Looks at the simulation of a row, (nq,)."""
        self.data.qpos[:] = qpos
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)

    @property
    def place(self) -> np.ndarray:
        """Where the point between the fingertips is, (3,) m."""
        return self.data.site("tcp").xpos.copy()

    @property
    def axes(self) -> np.ndarray:
        """The axes of the hand, in columns: the second is the one along which it opens, the third where it points."""
        return self.data.site("tcp").xmat.reshape(3, 3).copy()

    def turn(self, pointing: np.ndarray, opening: np.ndarray) -> np.ndarray:
        """The rotation, as a vector in rad, that is left until the hand points and opens along unit vectors."""
        return np.cross(self.axes[:, 2], pointing) + np.cross(self.axes[:, 1], opening)

    def actions(self, target: np.ndarray, way: np.ndarray, turn: np.ndarray) -> np.ndarray:
        """The actions of the joints, (7,), that lead along `way` and `turn`.

        Args:
            target: Where the targets of the joints are, (7,) rad.
            way: What is left of the way of the point between the fingertips, (3,) m.
            turn: What is left to turn the hand by, (3,) rad.
        """
        along, about = np.zeros((2, 3, self.model.nv))
        mujoco.mj_jacSite(self.model, self.data, along, about, self.model.site("tcp").id)
        jacobian = np.concatenate([along, about])[:, :7]
        wanted = np.concatenate([np.clip(x, -m, m) for x, m in zip((way, turn), FARTHEST, strict=True)])
        bend = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING * np.eye(6), wanted)
        return np.clip((self.data.qpos[:7] + bend - target) / self._step, -1, 1)
