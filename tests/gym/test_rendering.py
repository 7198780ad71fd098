"""Frames of rows, and what is said where there is no OpenGL."""

import copy
import gc
import os
import subprocess
import sys

import gymnasium
import mujoco
import numpy as np
import pytest

from motrix_gym import rendering
from motrix_gym.rendering import EnvRenderer, RenderingUnavailable, grid, strip

EMPTY = "<mujoco><worldbody><light pos='0 0 3'/><geom size='0.3' rgba='1 0 0 1'/></worldbody></mujoco>"


@pytest.fixture
def envs(env_id: str, opengl: None):
    """Three rows of every environment in turn, that can be drawn."""
    envs = gymnasium.make_vec(env_id, num_envs=3, num_threads=1, render_mode="rgb_array", render_size=(64, 48))
    envs.reset(seed=0)
    yield envs
    envs.close()


@pytest.fixture
def ball() -> tuple[mujoco.MjModel, mujoco.MjData]:
    """A red ball, without a camera."""
    model = mujoco.MjModel.from_xml_string(EMPTY)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def frames(count: int, height: int = 2, width: int = 3) -> list[np.ndarray]:
    """Frames of one colour each, 1, 2 ..."""
    return [np.full((height, width, 3), k, dtype=np.uint8) for k in range(1, count + 1)]


def test_every_row_has_a_frame(envs):
    pictures = envs.render()
    assert isinstance(pictures, tuple)
    assert [(x.shape, x.dtype) for x in pictures] == [((48, 64, 3), np.uint8)] * 3
    assert all(np.unique(x.reshape(-1, 3), axis=0).shape[0] > 5 for x in pictures), "a picture is nearly blank"
    for asked in (envs.call("render"), envs.unwrapped.render_envs(range(3))):
        for x, y in zip(pictures, asked, strict=True):
            np.testing.assert_allclose(x.astype(int), y, atol=1)  # OpenGL may round a pixel otherwise


def test_a_frame_shows_the_model_of_its_row(ball, opengl):
    model, data = ball
    renderer = EnvRenderer(model, 60, 60)
    red = []
    for radius in (0.1, 0.2, 0.1):
        own = copy.copy(model)
        own.geom_size[0, 0] = radius
        red.append(np.count_nonzero(renderer.frame(data, own)[..., 0] > 100))
    assert red[1] > 3 * red[0] > 0
    assert red[2] == red[0]
    assert np.count_nonzero(renderer.frame(data)[..., 0] > 100) > red[1]
    renderer.close()


def test_frames_show_what_rows_do(envs):
    before = envs.render()
    for _ in range(15):
        envs.step(envs.action_space.high)
    after = envs.render()
    assert all(not np.array_equal(x, y) for x, y in zip(before, after, strict=True))
    [alone] = envs.unwrapped.render_envs([2])
    np.testing.assert_array_equal(alone, after[2])
    assert not np.array_equal(after[0], after[2])


def test_looking_changes_nothing(envs):
    trajectories = []
    for looking in (False, True):
        envs.reset(seed=5)
        envs.action_space.seed(5)
        steps = []
        for _ in range(8):
            steps.append(envs.step(envs.action_space.sample())[0])
            if looking:
                envs.render()
        trajectories.append(steps)
    np.testing.assert_array_equal(*trajectories)


def test_the_single_environment_has_a_frame(env_id, envs):
    envs.reset(seed=3)
    env = gymnasium.make(env_id, render_mode="rgb_array", render_size=(64, 48))
    env.reset(seed=3)
    np.testing.assert_array_equal(env.render(), envs.render()[0])
    env.close()


def test_a_model_without_a_track_camera_and_of_any_size(opengl, ball):
    model, data = ball
    renderer = EnvRenderer(model, 700, 500)
    assert model.vis.global_.offwidth == 640
    frame = renderer.frame(data)
    assert frame.shape == (500, 700, 3)
    red, green, _ = frame[250, 350].astype(int)
    assert red > 2 * green
    renderer.close()
    renderer.close()
    with pytest.raises(RuntimeError, match="closed"):
        renderer.frame(data)


def test_frames_are_the_right_way_up(opengl):
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><camera name='track' pos='0 -3 0' xyaxes='1 0 0 0 0 1'/><light pos='0 -3 0' dir='0 1 0'/>"
        "<geom size='0.3' pos='0 0 0.6' rgba='1 0 0 1'/><geom size='0.3' pos='0.6 0 0' rgba='0 0 1 1'/>"
        "</worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    frame = EnvRenderer(model, 60, 60).frame(data).astype(int)
    redness, blueness = frame[..., 0] - frame[..., 2], frame[..., 2] - frame[..., 0]
    assert np.argwhere(redness > 50)[:, 0].mean() < 25
    assert np.argwhere(blueness > 50)[:, 1].mean() > 35


def test_shadows_are_cast_when_asked_for(opengl):
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><light pos='0 0 3'/><geom type='plane' size='2 2 0.1'/>"
        "<geom size='0.2' pos='0 0 1'/></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with_shadow, without = (EnvRenderer(model, 80, 60, shadows=on).frame(data).mean() for on in (True, False))
    assert with_shadow < without


@pytest.mark.parametrize("off", ["disable", "0", "OFF"])
def test_rendering_that_is_switched_off_says_so(monkeypatch, ball, off):
    monkeypatch.setenv("MUJOCO_GL", off)
    with pytest.raises(RenderingUnavailable, match=f"MUJOCO_GL={off.lower()} switches rendering off; unset it"):
        EnvRenderer(ball[0], 64, 48)


def test_without_a_library_or_a_screen_it_says_what_to_install(monkeypatch, ball):
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(rendering.ctypes.util, "find_library", lambda name: None)
    monkeypatch.setattr(rendering.platform, "system", lambda: "Linux")
    with pytest.raises(RenderingUnavailable) as caught:
        EnvRenderer(ball[0], 64, 48)
    for words in ("libegl1 libegl-mesa0 libgl1-mesa-dri", "MUJOCO_GL=egl", "libosmesa6", "MUJOCO_GL=osmesa"):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "failure",
    [
        AttributeError("'NoneType' object has no attribute 'eglQueryString'"),
        ImportError("Cannot initialize a EGL device display."),
        mujoco.FatalError("gladLoadGL error"),
        OSError("libEGL.so.1: cannot open shared object file"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_whatever_way_opengl_fails_it_says_what_to_install(monkeypatch, ball, failure):
    def fails(width: int, height: int) -> None:
        raise failure

    monkeypatch.setattr(rendering, "_context_class", lambda: fails)
    with pytest.raises(RenderingUnavailable, match="apt-get install libegl1") as caught:
        EnvRenderer(ball[0], 64, 48)
    assert str(failure) in str(caught.value)
    assert isinstance(caught.value, RuntimeError)
    assert caught.value.__cause__ is failure


THREADS = """
import gc, threading
import gymnasium, motrix_gym, numpy as np

def in_a_thread(do):
    said = []
    def run():
        try:
            said.append(do())
        except Exception as error:
            said.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return said[0]

def made():
    kwargs = {"num_threads": 1, "render_mode": "rgb_array", "render_size": (64, 48)}
    envs = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=2, **kwargs)
    envs.reset(seed=0)
    return envs

def close(envs):
    envs.close()

envs = made()
first = envs.render()
for picture in (in_a_thread(envs.render), in_a_thread(envs.render), envs.render(), in_a_thread(made().render)):
    assert not isinstance(picture, Exception), picture
    np.testing.assert_allclose(np.stack(picture).astype(int), np.stack(first), atol=1)
assert in_a_thread(lambda: close(envs)) is None
others = [made() for _ in range(3)]
for other in others:
    other.render()
def drop():
    del others[:]
    gc.collect()
assert in_a_thread(drop) is None
together = [made() for _ in range(3)]
pictures = []
threads = [threading.Thread(target=lambda e=e: pictures.extend(e.render() for _ in range(10))) for e in together]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(pictures) == 30
for picture in pictures:
    np.testing.assert_allclose(np.stack(picture).astype(int), np.stack(first), atol=1)
print("drawn")
"""


def test_any_thread_draws_closes_and_collects(opengl):
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "drawn\n", "")


def test_garbage_that_is_collected_in_the_midst_of_a_frame_does_not_disturb_it(opengl, ball, monkeypatch):
    model, data = ball
    renderer, other = EnvRenderer(model, 60, 60), EnvRenderer(model, 60, 60)
    others = [other]
    del other
    expected = renderer.frame(data)
    render = mujoco.mjr_render

    def collects(*args: object) -> None:
        others.clear()
        gc.collect()
        render(*args)

    monkeypatch.setattr(mujoco, "mjr_render", collects)
    np.testing.assert_allclose(renderer.frame(data).astype(int), expected, atol=1)
    assert not others


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("foo", ["MUJOCO_GL=foo is not known", "egl, osmesa, glfw", "unset it"]),
        ("glfw", ["MUJOCO_GL=glfw needs a screen", "set MUJOCO_GL=egl"]),
    ],
)
def test_a_setting_that_gives_no_pictures_is_told_when_one_is_drawn(name, words):
    """In a fresh process, which trains all the same."""
    environment = {k: x for k, x in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")} | {"MUJOCO_GL": name}
    code = (
        "import gymnasium, motrix_gym\n"
        "from motrix_gym.rendering import RenderingUnavailable\n"
        "envs = gymnasium.make_vec('Motrix/CartPole-v0', num_envs=2, num_threads=1, render_mode='rgb_array')\n"
        "envs.reset(seed=0)\n"
        "envs.step(envs.action_space.sample())\n"
        "try:\n"
        "    envs.render()\n"
        "except RenderingUnavailable as missing:\n"
        "    print(missing)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert not [word for word in words if word not in done.stdout], done.stdout


def test_a_model_without_a_track_camera_is_seen_by_its_first(opengl):
    def frame(name: str) -> np.ndarray:
        model = mujoco.MjModel.from_xml_string(
            f"<mujoco><worldbody><camera name='{name}' pos='0 -3 0' xyaxes='1 0 0 0 0 1'/>"
            "<camera name='above' pos='0 0 9'/><geom size='0.3' pos='0 0 0.6'/></worldbody></mujoco>"
        )
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        return EnvRenderer(model, 60, 60).frame(data).astype(int)

    np.testing.assert_allclose(frame("front"), frame("track"), atol=1)


def test_it_needs_no_setting_and_ends_quietly(opengl):
    """In a fresh process, without MUJOCO_GL and without closing anything."""
    environment = {k: x for k, x in os.environ.items() if k not in ("MUJOCO_GL", "DISPLAY", "PYOPENGL_PLATFORM")}
    code = (
        "import gymnasium, motrix_gym\n"
        "envs = gymnasium.make_vec('Motrix/CartPole-v0', num_envs=2, num_threads=1, render_mode='rgb_array')\n"
        "envs.reset(seed=0)\n"
        "print([frame.shape for frame in envs.render()])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[(360, 480, 3), (360, 480, 3)]\n", "")


@pytest.mark.parametrize(
    ("count", "columns", "shape"), [(1, None, (1, 1)), (5, None, (2, 3)), (9, None, (3, 3)), (5, 2, (3, 2))]
)
def test_a_grid_has_its_frames_in_reading_order(count, columns, shape):
    picture = grid(frames(count), columns)
    assert picture.shape == (2 * shape[0], 3 * shape[1], 3)
    order = picture[::2, ::3, 0].ravel()
    np.testing.assert_array_equal(order, [*range(1, count + 1), *[0] * (shape[0] * shape[1] - count)])


def test_a_strip_goes_from_the_first_frame_to_the_last():
    picture = strip(frames(11), 3)
    assert picture.shape == (2, 9, 3)
    assert picture[0, ::3, 0].tolist() == [1, 6, 11]


def test_pictures_of_nothing_are_refused():
    with pytest.raises(ValueError, match="shapes: none"):
        grid([])
    with pytest.raises(ValueError, match=r"shapes: \(2, 3, 3\), \(4, 3, 3\)"):
        strip([*frames(1), *frames(1, height=4)])
    with pytest.raises(ValueError, match="columns is 0"):
        grid(frames(2), 0)
    with pytest.raises(ValueError, match="count is 3; of 2 frames"):
        strip(frames(2), 3)


def test_a_camera_is_chosen_by_its_name(ball, opengl: None):
    model = mujoco.MjModel.from_xml_string(
        EMPTY.replace("<geom", "<camera name='near' pos='0 -1 0' xyaxes='1 0 0 0 0 1'/>"
        "<camera name='far' pos='0 -9 0' xyaxes='1 0 0 0 0 1'/><geom")
    )  # fmt: skip
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)

    def red(camera: str | None) -> int:
        renderer = EnvRenderer(model, 64, 48, camera=camera)
        try:
            return int((renderer.frame(data)[..., 0] > 100).sum())
        finally:
            renderer.close()

    assert red("near") == red(None) > 4 * red("far") > 0


@pytest.mark.parametrize("make", [gymnasium.make, gymnasium.make_vec])
def test_a_camera_that_there_is_not_is_refused_when_the_environment_is_made(env_id: str, make):
    with pytest.raises(ValueError, match=r"render_camera 'trakc' is no camera of the model; did you mean 'track'"):
        make(env_id, render_mode="rgb_array", render_camera="trakc")
