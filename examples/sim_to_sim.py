"""A trained robot in worlds that it was not trained in, in plain MuJoCo: `python sim_to_sim.py go2.onnx go2.xml`.

Both files are written by `motrix-train export Motrix/Go2-v0 --onnx --output go2.onnx --model go2.xml`. Each world
changes something of the model: how its feet grip, what it weighs, how stiff its servos are, how late actions come.
"""

import copy
import sys

import mujoco
from onnx_mujoco import walk

COMMAND, SECONDS = [0.8, 0.0, 0.0], 10.0


def world(robot, grip=1.0, load=0.0, ahead=0.0, stiffness=1.0):
    """The model with other friction, `load` kg on the trunk, `ahead` m before its middle, and other servos."""
    model = copy.copy(robot)
    model.geom_friction[:, 0] *= grip
    trunk = model.jnt_bodyid[0]  # of the joint by which the robot moves freely
    total = model.body_mass[trunk] + load
    model.body_ipos[trunk][0] += ahead * load / total
    model.body_mass[trunk] = total
    model.actuator_gainprm[:, 0] *= stiffness
    model.actuator_biasprm[:, 1] *= stiffness
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


WORLDS = {  # what differs, and the delay of the actions in physics steps
    "as trained": ({}, 0),
    "slippery: half the friction": ({"grip": 0.5}, 0),
    "3 kg on its back, 10 cm ahead": ({"load": 3.0, "ahead": 0.1}, 0),
    "servos 15 % weaker": ({"stiffness": 0.85}, 0),
    "actions 10 ms late": ({}, 2),
    "all of it": ({"grip": 0.7, "load": 2.0, "ahead": 0.1, "stiffness": 0.9}, 2),
}


if __name__ == "__main__":
    policy_file, model_file = sys.argv[1:]
    robot = mujoco.MjModel.from_xml_path(model_file)
    print(f"told to go {COMMAND[0] * SECONDS:g} m forward in {SECONDS:g} s")
    for name, (changes, delay) in WORLDS.items():
        data = walk(policy_file, world(robot, **changes), COMMAND, SECONDS, delay)
        fallen = data.sensor("gravity_direction").data[2] > -0.5
        print(f"{name:32} {data.qpos[0]:6.2f} m, {data.qpos[1]:5.2f} m to the left{', fallen' if fallen else ''}")
