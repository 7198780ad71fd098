"""Environments in a process that was forked after they were made: they go on, or say at once what to do instead."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import gymnasium
import numpy as np
import pytest

CARTPOLE, MULTI = "Motrix/CartPole-v0", "Motrix/MultiTask-v0"
TASKS = [{"id": CARTPOLE, "name": "one"}, {"id": CARTPOLE, "name": "other"}]
LIMIT = 20.0  # s, after which a forked process is said to hang

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here"),
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
]


def stepped(num_threads: int, env_id: str = CARTPOLE, **kwargs):
    """Rows in the midst of an episode."""
    envs = gymnasium.make_vec(env_id, num_envs=4, num_threads=num_threads, **kwargs).unwrapped
    envs.reset(seed=0)
    envs.step(np.zeros((4, 1)))
    return envs


def forked(do: Callable[[], object]) -> str:
    """What `do` returns or raises in a forked process, as text; fails where that hangs or is killed."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = str(do())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writes, said.encode())
        os._exit(0)
    os.close(writes)
    end = time.monotonic() + LIMIT
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the forked process hangs")
        time.sleep(0.01)
    with os.fdopen(reads, "rb") as pipe:
        said = pipe.read().decode()
    assert ended[1] == 0, f"the forked process ended with {ended[1]}: {said}"
    return said


@pytest.mark.parametrize("num_threads", [0, 2])
@pytest.mark.parametrize("env_id", [CARTPOLE, MULTI])
def test_what_has_threads_says_so_at_once(num_threads, env_id):
    envs = stepped(num_threads, env_id, **({"tasks": TASKS} if env_id == MULTI else {}))
    expected = envs.get_state()["simulation"]
    for use in (
        lambda: envs.step(np.zeros((4, 1))),
        lambda: envs.reset(seed=0),
        lambda: envs.get_state(),
    ):
        said = forked(use)
        assert said.startswith("RuntimeError: this environment was made before the process was forked")
        assert "'spawn'" in said
        assert "num_threads=1" in said
    np.testing.assert_array_equal(envs.get_state()["simulation"], expected)
    envs.step(np.zeros((4, 1)))


@pytest.mark.parametrize("num_threads", [0, 1, 2])
def test_what_was_inherited_can_be_closed_dropped_and_left(num_threads):
    held = [stepped(num_threads)]

    def dropped() -> None:
        held[0].close()
        held.clear()
        gc.collect()

    assert forked(lambda: held[0].close()) == "None"
    assert forked(dropped) == "None"
    held[0].step(np.zeros((4, 1)))


def test_a_single_thread_goes_on_as_in_the_parent():
    envs = stepped(1)
    said = forked(lambda: envs.step(np.ones((4, 1)))[0].tolist())
    assert said == str(envs.step(np.ones((4, 1)))[0].tolist())


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_forked_process_makes_its_own(num_threads):
    envs = stepped(2)
    said = forked(lambda: stepped(num_threads).step(np.ones((4, 1)))[0].tolist())
    assert said == str(envs.step(np.ones((4, 1)))[0].tolist())


POOLED = []


def pooled_step(_: int) -> list[float]:
    """What a worker of a pool does with what it inherited."""
    return POOLED[0].step(np.ones((4, 1)))[1].tolist()


@pytest.mark.parametrize("num_threads", [1, 2])
def test_workers_of_a_pool_get_the_same(num_threads):
    POOLED[:] = [stepped(num_threads)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        result = pool.map_async(pooled_step, range(2))
        if num_threads == 1:
            assert all(len(rewards) == 4 for rewards in result.get(LIMIT))
        else:
            with pytest.raises(RuntimeError, match="start processes with the method 'spawn'"):
                result.get(LIMIT)
    POOLED.clear()


def test_what_has_drawn_says_so_at_once(opengl):
    """Whatever is done with what was inherited, and with OpenGL anew."""
    drawing = {"render_mode": "rgb_array", "render_size": (64, 48)}
    held = [stepped(1, **drawing)]
    picture = held[0].render()[0]

    def dropped() -> None:
        held.clear()
        gc.collect()

    for draw in (held[0].render, stepped(1, **drawing).render, lambda: stepped(2, **drawing).render()):
        said = forked(draw)
        assert said.startswith("RenderingUnavailable: pictures were drawn before this process was forked")
        assert "'spawn'" in said
    assert forked(held[0].close) == "None"
    assert forked(dropped) == "None"
    assert forked(lambda: held[0].step(np.zeros((4, 1)))[2].shape) == "(4,)"
    np.testing.assert_allclose(held[0].render()[0].astype(int), picture, atol=1)


def test_a_forked_process_draws_where_nothing_was_drawn_before(opengl):
    code = f"""
import os
import gymnasium, motrix_gym
envs = gymnasium.make_vec("{CARTPOLE}", num_threads=1, render_mode="rgb_array", render_size=(64, 48))
envs.reset(seed=0)
if os.fork() == 0:
    print(envs.render()[0].shape, flush=True)
    raise SystemExit
print(os.waitstatus_to_exitcode(os.wait()[1]), envs.render()[0].shape)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (done.stdout, done.stderr) == ("(48, 64, 3)\n0 (48, 64, 3)\n", "")


@pytest.mark.parametrize("draws", [False, True])
def test_a_process_that_exits_in_the_ordinary_way_ends(draws, request):
    """The interpreter is taken down with all that was inherited."""
    if draws:
        request.getfixturevalue("opengl")
    code = f"""
import os, sys
import gymnasium, motrix_gym, numpy as np
envs = gymnasium.make_vec("{CARTPOLE}", num_envs=4, num_threads=2, render_mode="rgb_array", render_size=(64, 48))
envs.reset(seed=0)
envs.step(np.zeros((4, 1)))
if {draws}:
    envs.render()
if os.fork() == 0:
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (done.stdout, done.stderr) == ("7\n", "")
