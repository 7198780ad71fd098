"""A trained Go1 follows a command in plain MuJoCo, without this project: `python onnx_mujoco.py go1.onnx go1.xml`.

Both files are written by `motrix-train export Motrix/Go1-v0 --onnx --output go1.onnx --model go1.xml`.
"""

import json
import sys

import mujoco
import numpy as np
import onnxruntime


def blocks_of(data, about, action, command, phase):
    """What a policy may see of a robot that is told to move: each block as in its environment, by name."""
    return {  # copies, because a sensor's array goes on with the simulation
        "linear_velocity": data.sensor("linear_velocity").data.copy(),
        "angular_velocity": data.sensor("angular_velocity").data.copy(),
        "gravity": data.sensor("gravity_direction").data.copy(),
        "joint_position": [data.joint(name).qpos[0] for name in about["joints"]] - np.array(about["ctrl_offset"]),
        "joint_velocity": [data.joint(name).qvel[0] for name in about["joints"]],
        "last_action": action,
        "command": command,
        "gait_clock": [np.sin(2 * np.pi * phase), np.cos(2 * np.pi * phase)],
    }


def observation(steps, about):
    """What the policy sees of the last steps, (1, k): block by block, in each from the oldest step to the newest."""
    seen = [step[block["name"]] for block in about["observation_blocks"] for step in steps[-block["history"] :]]
    return np.concatenate(seen)[None].astype(np.float32)


def walk(policy_file, model, command, seconds, delay=0):
    """Starts from the standing pose and returns the data at the end; actions come `delay` physics steps late."""
    policy = onnxruntime.InferenceSession(policy_file)
    texts = policy.get_modelmeta().custom_metadata_map
    about = {name: json.loads(texts[name]) for name in ("joints", "ctrl_offset", "observation_blocks", "task")}
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    action, steps = np.zeros(model.nu), []
    while data.time < seconds:
        mujoco.mj_forward(model, data)  # the sensors of this instant
        blocks = blocks_of(data, about, action, command, phase=about["task"]["gait_frequency"] * data.time)
        steps = [*steps[1:], blocks] if steps else [blocks] * about["task"]["history"]
        seen = observation(steps, about)
        action, ctrl = np.array(policy.run(["action", "ctrl"], {"observation": seen}))[:, 0]
        mujoco.mj_step(model, data, delay)
        data.ctrl[:] = ctrl
        mujoco.mj_step(model, data, round(about["task"]["control_dt"] / model.opt.timestep) - delay)
    return data


if __name__ == "__main__":
    policy_file, model_file = sys.argv[1:]
    robot = mujoco.MjModel.from_xml_path(model_file)
    x, y, height = walk(policy_file, robot, command=[0.8, 0.0, 0.0], seconds=5.0).qpos[:3]
    print(f"told to go 4 m forward in 5 s: went {x:.2f} m, {y:.2f} m to the left, and stands {height:.2f} m high")
