"""Loads models from files: MJCF or URDF."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import NoReturn

import mujoco

SUFFIXES = (".xml", ".urdf")
_OURS = Path(__file__).parent / "models"


def load_model(file: str | Path) -> mujoco.MjModel:
    """Compiles a model from a file.

    Args:
        file: As in `load_spec`.

    Raises:
        ValueError: As `load_spec`, and what MuJoCo's compiler refuses, such as a mesh that is missing.
    """
    path = _found(file)
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    except (ValueError, mujoco.FatalError) as error:
        _refuse(file, error)


def compile_spec(spec: mujoco.MjSpec, file: str | Path) -> mujoco.MjModel:
    """Compiles what `load_spec` read from a file.

    Raises:
        ValueError: What MuJoCo's compiler refuses; one line with the file and the reason.
    """
    try:
        return spec.compile()
    except (ValueError, mujoco.FatalError) as error:
        _refuse(file, error)


def load_spec(file: str | Path) -> mujoco.MjSpec:
    """Reads a model that can still be added to, from a file.

    Args:
        file: An MJCF file, ``.xml``, or a ``.urdf``, in UTF-8: ``Path(__file__).parent / "robot.xml"`` is beside the
            module. MuJoCo looks for what the file includes, and for its meshes and textures, beside the file. A
            relative path is one of `motrix_gym`'s own models, such as ``"go1.xml"``.

    Raises:
        ValueError: There is no such file, or MuJoCo refuses it; one line with the file and the reason. What only the
            compiler looks at, such as a mesh, `load_model` refuses.
    """
    path = _found(file)
    try:
        return mujoco.MjSpec.from_file(str(path))
    except (ValueError, mujoco.FatalError) as error:
        _refuse(file, error)


def _found(file: str | Path) -> Path:
    """The path of a file that can be read."""
    path = _OURS / file
    if not path.is_file():
        _refuse(file, _what_is_missing(path, is_ours=not Path(file).is_absolute()))
    if path.suffix not in SUFFIXES:
        _refuse(file, f"its name ends with {path.suffix!r}; give an MJCF file, .xml, or a .urdf")
    try:
        path.read_text("utf-8")
    except UnicodeDecodeError as error:
        _refuse(file, f"byte {error.start} is not UTF-8; save the file as UTF-8")
    return path


def _what_is_missing(path: Path, *, is_ours: bool) -> str:
    if path.is_dir():
        return "is a directory; give the file in it"
    beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, beside, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    whole = '; a file of yours takes its whole path, as Path(__file__).parent / "robot.xml"' if is_ours else ""
    return f"there is no such {'model in motrix_gym' if is_ours else 'file'}{hint}{whole}"


def _refuse(file: str | Path, reason: object) -> NoReturn:
    line = " ".join(str(reason).removeprefix("XML ").removeprefix("Error: ").split())
    if "package:" in line:
        line += (
            '; MuJoCo knows no package://, <mujoco><compiler meshdir="..." strippath="true"/></mujoco> is without it'
        )
    raise ValueError(f"model {str(file)!r}: {line}") from None
