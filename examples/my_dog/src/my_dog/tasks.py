"""The velocity task of motrix_gym, with this robot."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from motrix_gym import LeggedRobot, Servo, VelocityTask
from motrix_gym.fields import Positive

ROBOT = LeggedRobot(
    Path(__file__).parent / "my_dog.xml",
    feet=("FR_foot", "FL_foot", "RR_foot", "RL_foot"),
    pose={"*_thigh": 0.75, "*_calf": -1.6},
    servos={"*": Servo(stiffness=20.0, damping=0.5)},
)


@dataclass(frozen=True, kw_only=True)
class MyDog(VelocityTask):
    """A dog of 9 kg follows a velocity command."""

    ROBOT: ClassVar = ROBOT
    swing_height: Positive = 0.06
