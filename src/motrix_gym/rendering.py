"""Pictures of environments: frames, grids of frames, film strips. The only module that touches OpenGL.

MuJoCo draws with the OpenGL that the environment variable ``MUJOCO_GL`` names: ``egl`` (a GPU, or Mesa's software
driver), ``osmesa`` (software) or ``glfw`` (a window system). Where it is not set, on a Linux machine without a
screen, EGL is taken, or OSMesa where only that is installed. This module reads the variable when the first
picture is drawn, so it counts even if it was set after ``import mujoco``.

Any thread may draw, one at a time: no context of OpenGL stays with a thread. A process that was forked after a picture
was drawn cannot draw.
"""

from __future__ import annotations

import atexit
import copy
import ctypes.util
import functools
import importlib
import math
import os
import platform
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mujoco
import numpy as np

from motrix_gym import forks
from motrix_gym.fields import nearest

CAMERA = "track"
_SHADOW_MAP_SIZE = 1024
_SWITCHED_OFF = ("disable", "disabled", "off", "false", "0")
_WITH_A_SCREEN = ("", "glfw", "glx", "enable", "enabled", "on", "true", "1")
_SCREENLESS_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
_REMEDY = (
    "on Debian or Ubuntu, `apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri` and set MUJOCO_GL=egl, "
    "or `apt-get install libosmesa6` and set MUJOCO_GL=osmesa, before Python starts"
)
_FORKED = (
    "pictures were drawn before this process was forked, and cannot be drawn in it; start processes with the method "
    "'spawn', or fork before the first picture"
)


class RenderingUnavailable(RuntimeError):
    """There is no OpenGL to draw with; the message says what to install and to set."""


class EnvRenderer:
    """Draws single simulations of one model, without a window.

    The model's camera ``track`` is used where it has one, else its first camera, else MuJoCo's free camera, which sees
    the whole model.

    Args:
        model: The model; it is left as it is, whatever the size of its offscreen buffer.
        width: Of a frame, pixels.
        height: Of a frame, pixels.
        camera: Name of a camera of the model, None for ``track``, else the first one, else the free one.
        shadows: Whether to cast shadows. Software drivers take two to three times as long for a frame with them.

    Raises:
        RenderingUnavailable: There is no OpenGL here.
    """

    def __init__(
        self, model: mujoco.MjModel, width: int, height: int, *, camera: str | None = None, shadows: bool = False
    ):
        self._gl: Any = None
        self._model = copy.copy(model)
        self._model.vis.global_.offwidth, self._model.vis.global_.offheight = width, height
        self._model.vis.quality.shadowsize = _SHADOW_MAP_SIZE
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._option = mujoco.MjvOption()
        self._scene = mujoco.MjvScene(self._model, maxgeom=10_000)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        self._camera = _camera(self._model, camera)
        context_class = _context_class()
        with _OPENGL.lock():
            try:
                gl = context_class(width, height)
                gl.make_current()
                self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_150)
            except Exception as error:  # a missing driver shows as anything from AttributeError to mujoco.FatalError
                raise RenderingUnavailable(_unavailable(error)) from error
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
            _leave_thread(gl)
        self._gl = gl
        _OPENGL.opened(self)

    def frame(self, data: mujoco.MjData, model: mujoco.MjModel | None = None) -> np.ndarray:
        """A picture of `data`, (height, width, 3) uint8.

        Args:
            data: A simulation whose positions have been computed (``mj_forward``).
            model: Its model, if its numbers differ from those of the renderer's model.

        Raises:
            RuntimeError: The renderer is closed.
            RenderingUnavailable: This process was forked from one that has drawn.
        """
        upside_down = np.empty((self._rect.height, self._rect.width, 3), dtype=np.uint8)
        with _OPENGL.lock():
            if self._gl is None:
                raise RuntimeError("the renderer is closed; make a new one")
            with _current(self._gl):
                mujoco.mjv_updateScene(
                    model or self._model,
                    data,
                    self._option,
                    None,
                    self._camera,
                    mujoco.mjtCatBit.mjCAT_ALL,
                    self._scene,
                )
                mujoco.mjr_render(self._rect, self._scene, self._context)
                mujoco.mjr_readPixels(upside_down, None, self._rect, self._context)
        return np.ascontiguousarray(upside_down[::-1])

    def close(self) -> None:
        """Frees the resources of OpenGL; a second call does nothing."""
        gl, self._gl = self._gl, None
        if gl is not None:
            _OPENGL.free(gl, self._context)

    def give_up(self) -> None:
        """Called in a forked process, which cannot use the OpenGL of its parent."""
        if self._gl is not None:
            forks.leak(self._gl)
            forks.leak(self._context)
            self._gl = None

    def __del__(self) -> None:
        self.close()


def grid(frames: Sequence[np.ndarray], columns: int | None = None) -> np.ndarray:
    """Frames tiled into one picture, row by row; the rest of the last row is black.

    Args:
        frames: Each (h, w, 3) uint8.
        columns: Frames beside each other; by default as many as make the picture about square in frames.

    Returns:
        (rows * h, columns * w, 3) uint8.
    """
    stacked = _stacked(frames)
    if columns is None:
        columns = math.ceil(math.sqrt(len(stacked)))
    if columns < 1:
        raise ValueError(f"columns is {columns}; a grid has at least 1")
    rows = math.ceil(len(stacked) / columns)
    _, height, width, channels = stacked.shape
    tiles = np.zeros((rows * columns, height, width, channels), dtype=stacked.dtype)
    tiles[: len(stacked)] = stacked
    tiles = tiles.reshape(rows, columns, height, width, channels)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def strip(frames: Sequence[np.ndarray], count: int = 6) -> np.ndarray:
    """A film strip: `count` frames, from the first to the last at even distances, beside each other.

    Args:
        frames: Each (h, w, 3) uint8, in order of time.
        count: How many of them are shown.

    Returns:
        (h, count * w, 3) uint8.
    """
    stacked = _stacked(frames)
    if not 1 <= count <= len(stacked):
        raise ValueError(f"count is {count}; of {len(stacked)} frames a strip shows 1 to {len(stacked)}")
    shown = np.linspace(0, len(stacked) - 1, count).round().astype(int)
    return np.concatenate(stacked[shown], axis=1)


def _stacked(frames: Sequence[np.ndarray]) -> np.ndarray:
    shapes = {np.shape(frame) for frame in frames}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        found = ", ".join(map(str, sorted(shapes))) or "none"
        raise ValueError(f"frames have the shapes: {found}; they must be one or more of one shape (h, w, 3)")
    return np.stack(list(frames))


def check_camera(model: mujoco.MjModel, name: str | None) -> None:
    """Refuses a camera that the model does not have.

    Raises:
        ValueError: There is none of this name; names the nearest.
    """
    known = [model.camera(number).name for number in range(model.ncam)]
    if name is not None and name not in known:
        raise ValueError(f"render_camera {name!r} is no camera of the model{nearest(str(name), known)}")


def _camera(model: mujoco.MjModel, name: str | None) -> mujoco.MjvCamera:
    check_camera(model, name)
    camera = mujoco.MjvCamera()
    if model.ncam > 0:
        number = max(mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name or CAMERA), 0)
        camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, number
    else:
        mujoco.mjv_defaultFreeCamera(model, camera)
    return camera


def _context_class() -> Any:
    """The class of OpenGL context that ``MUJOCO_GL`` names, or that this machine has."""
    backend = os.environ.get("MUJOCO_GL", "").lower().strip()
    if backend in _SWITCHED_OFF:
        raise RenderingUnavailable(f"MUJOCO_GL={backend} switches rendering off; unset it to see pictures")
    if platform.system() != "Linux":
        return _loaded(lambda: mujoco.GLContext)
    if backend not in (*_WITH_A_SCREEN, *_SCREENLESS_LIBRARIES):
        raise RenderingUnavailable(
            f"MUJOCO_GL={backend} is not known; use one of {', '.join(_SCREENLESS_LIBRARIES)}, glfw, or unset it"
        )
    if backend in _WITH_A_SCREEN and not _has_screen():
        if backend:
            raise RenderingUnavailable(_unavailable(f"MUJOCO_GL={backend} needs a screen, and there is none"))
        installed = [name for name, library in _SCREENLESS_LIBRARIES.items() if ctypes.util.find_library(library)]
        if not installed:
            raise RenderingUnavailable(_unavailable("neither a screen nor the library of EGL or OSMesa was found"))
        backend = installed[0]
    module = backend if backend in _SCREENLESS_LIBRARIES else "glfw"
    return _loaded(lambda: importlib.import_module(f"mujoco.{module}").GLContext)


def _loaded(load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # PyOpenGL without its library: AttributeError, ImportError, OSError ...
        raise RenderingUnavailable(_unavailable(error)) from error


def _has_screen() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _unavailable(reason: object) -> str:
    detail = " ".join(str(reason).split()) or type(reason).__name__
    return f"there is no OpenGL here to draw with ({detail}); {_REMEDY}"


@contextmanager
def _current(gl: Any) -> Iterator[None]:
    """Makes a context current in the calling thread during the block.

    Raises:
        RenderingUnavailable: Another thread has it, or it is lost.
    """
    try:
        gl.make_current()
    except Exception as error:
        raise RenderingUnavailable(_unavailable(error)) from error
    try:
        yield
    finally:
        _leave_thread(gl)


def _leave_thread(gl: Any) -> None:
    """Releases a context from the calling thread, so that any other may use it."""
    backend = sys.modules[type(gl).__module__]
    match type(gl).__module__:
        case "mujoco.egl":
            egl = backend.EGL
            egl.eglMakeCurrent(backend.EGL_DISPLAY, egl.EGL_NO_SURFACE, egl.EGL_NO_SURFACE, egl.EGL_NO_CONTEXT)
        case "mujoco.osmesa":
            backend.osmesa.OSMesaMakeCurrent(None, None, backend.GL.GL_FLOAT, 0, 0)
        case "mujoco.glfw":
            backend.glfw.make_context_current(None)


class _OpenGL:
    """The OpenGL of this process. One thread uses it at a time, and contexts are freed when nothing is being drawn.

    Garbage is collected in any thread at any moment, in the midst of a frame too. So the resources of a renderer that
    is collected are put aside, and the next thread that uses OpenGL frees them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[EnvRenderer] = weakref.WeakSet()
        self._to_free: deque[tuple[Any, Any]] = deque()
        self._is_inherited = False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other threads from using OpenGL during the block.

        Raises:
            RenderingUnavailable: This process was forked from one that has drawn.
        """
        if self._is_inherited:
            raise RenderingUnavailable(_FORKED)
        with self._lock:
            yield
            self._free_all()

    def opened(self, renderer: EnvRenderer) -> None:
        """Registers `renderer`: it is closed when the process ends, and given up in a forked one."""
        _close_all_at_exit()
        self._open.add(renderer)
        forks.watch(renderer)

    def free(self, gl: Any, context: Any) -> None:
        """Frees a context now, or right after the drawing if a thread is drawing."""
        self._to_free.append((gl, context))
        if self._lock.acquire(blocking=False):
            try:
                self._free_all()
            finally:
                self._lock.release()

    def close_all(self) -> None:
        """Closes all renderers."""
        for renderer in list(self._open):
            renderer.close()

    def give_up(self) -> None:
        """Called in a forked process: leaves the inherited contexts alone."""
        egl: Any = sys.modules.get("mujoco.egl")
        if egl is not None and egl.EGL_DISPLAY is not None:
            atexit.unregister(egl.EGL.eglTerminate)  # it would wait for threads of the driver
            self._is_inherited = True
        self._is_inherited |= bool(self._open or self._to_free)
        for pair in self._to_free:
            forks.leak(pair)
        self._to_free.clear()
        self._lock = threading.Lock()

    def _free_all(self) -> None:
        while self._to_free:
            gl, context = self._to_free.popleft()
            with _current(gl):
                context.free()
            gl.free()


_OPENGL = _OpenGL()
forks.watch(_OPENGL)


@functools.cache
def _close_all_at_exit() -> None:
    """Closes the open renderers at exit; registered after the first context, it runs before the display is closed."""
    atexit.register(_OPENGL.close_all)
