"""A trained Go1 follows a command in plain MuJoCo, without this project: `python onnx_mujoco.py go1.onnx go1.xml`.

Both files are written by `motrix-train export Motrix/Go1-v0 --onnx --output go1.onnx --model go1.xml`.
"""

import json
import sys

import mujoco
import numpy as np
import onnxruntime


def observe(data, about, action, command, phase):
    """What the policy sees of a robot that is told to move, (1, 50): each block as in its environment."""
    blocks = {
        "linear_velocity": data.sensor("linear_velocity").data,
        "angular_velocity": data.sensor("angular_velocity").data,
        "gravity": data.sensor("gravity_direction").data,
        "joint_position": [data.joint(name).qpos[0] for name in about["joints"]] - np.array(about["ctrl_offset"]),
        "joint_velocity": [data.joint(name).qvel[0] for name in about["joints"]],
        "last_action": action,
        "command": command,
        "gait_clock": [np.sin(2 * np.pi * phase), np.cos(2 * np.pi * phase)],
    }
    return np.concatenate([blocks[block["name"]] for block in about["observation_blocks"]])[None].astype(np.float32)


def walk(policy_file, model, command, seconds, delay=0):
    """Starts from the standing pose and returns the data at the end; actions come `delay` physics steps late."""
    policy = onnxruntime.InferenceSession(policy_file)
    texts = policy.get_modelmeta().custom_metadata_map
    about = {name: json.loads(texts[name]) for name in ("joints", "ctrl_offset", "observation_blocks", "task")}
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    action = np.zeros(model.nu)
    while data.time < seconds:
        mujoco.mj_forward(model, data)  # the sensors of this instant
        seen = observe(data, about, action, command, phase=about["task"]["gait_frequency"] * data.time)
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
