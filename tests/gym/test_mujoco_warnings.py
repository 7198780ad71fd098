"""A row that diverges is an ending: MuJoCo writes nothing of it, and the user's own handler keeps all the rest."""

import ctypes
import subprocess
import sys
import threading

import gymnasium
import mujoco
import numpy as np
import pytest

CARTPOLE = "Motrix/CartPole-v0"
DIVERGES = f"""
import gymnasium, motrix_gym, numpy as np
envs = gymnasium.make_vec("{CARTPOLE}", num_envs=16, num_threads=THREADS).unwrapped
envs.reset(seed=0)
state = envs.get_state()
state["simulation"][:] = np.nan
for _ in range(3):
    envs.set_state(state)
    assert envs.step(np.zeros((16, 1)))[4]["termination"]["diverged"].all()
"""


def diverging(num_threads: int):
    """Rows all of which diverge in the next step."""
    envs = gymnasium.make_vec(CARTPOLE, num_envs=16, num_threads=num_threads).unwrapped
    envs.reset(seed=0)
    state = envs.get_state()
    state["simulation"][:] = np.nan
    envs.set_state(state)
    return envs, state


@pytest.fixture
def heard():
    """What a handler of the user's has heard so far."""
    messages: list[str] = []
    mujoco.set_mju_user_warning(messages.append)
    yield messages
    mujoco.set_mju_user_warning(None)


def of_the_user() -> None:
    """Somebody else's simulation diverges."""
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body><freejoint/><geom size='1'/></body></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    data.qpos[0] = np.nan
    mujoco.mj_step(model, data)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_row_that_diverges_leaves_no_line_and_no_file(tmp_path, num_threads):
    code = DIVERGES.replace("THREADS", str(num_threads))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


def test_a_start_that_cannot_be_simulated_leaves_none_either(tmp_path):
    code = f"""
import gymnasium, motrix_gym
try:
    gymnasium.make_vec("{CARTPOLE}", num_threads=1, start_range=1e300).reset(seed=0)
except ValueError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.stdout, done.stderr) == ("refused\n", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("num_threads", [1, 2])
def test_the_users_handler_stays_and_hears_of_the_users_own(heard, num_threads):
    handler = mujoco.get_mju_user_warning()
    envs, _ = diverging(num_threads)
    envs.step(np.zeros((16, 1)))
    assert not heard
    assert mujoco.get_mju_user_warning() is handler
    of_the_user()
    assert len(heard) == 1


def test_without_a_handler_there_is_none_afterwards():
    envs, _ = diverging(1)
    envs.step(np.zeros((16, 1)))
    assert mujoco.get_mju_user_warning() is None


def test_the_users_own_is_heard_of_while_others_step(heard):
    """In threads at once; the rows' warnings stay unheard."""
    stop = threading.Event()

    def step() -> None:
        envs, state = diverging(2)
        while not stop.is_set():
            envs.set_state(state)
            envs.step(np.zeros((16, 1)))

    steppers = [threading.Thread(target=step) for _ in range(2)]
    for stepper in steppers:
        stepper.start()
    for _ in range(200):
        of_the_user()
    stop.set()
    for stepper in steppers:
        stepper.join()
    assert len(heard) == 200


def test_a_handler_in_c_hears_of_the_rest_too():
    """As dm_control's: it takes bytes, where a handler in Python takes a string."""
    heard: list[bytes] = []
    handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(heard.append)
    mujoco.set_mju_user_warning(handler)
    try:
        envs = gymnasium.make_vec("Motrix/Go2-v0", num_envs=2, num_threads=1, com_shift=(1e9, 1e9, 1e9))
        envs.close()
    except ValueError:
        pass  # no episode can begin there
    finally:
        mujoco.set_mju_user_warning(None)
    assert any(b"Inertia matrix" in message for message in heard)
