"""Models from any file: with what they include and show, and one line where MuJoCo cannot read one."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

import motrix_gym
from motrix_gym import MotrixVectorEnv, load_model, load_spec, register
from motrix_gym.tasks.basic.cartpole import CartPole

OURS = Path(motrix_gym.__file__).parent / "models"
BALL = '<worldbody><body name="ball"><freejoint/><geom size="0.1"/></body></worldbody>'
URDF = """
<robot name="arm">
  <link name="base"><collision><geometry><mesh filename="{mesh}"/></geometry></collision></link>
  <link name="arm"><inertial>
    <mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial></link>
  <joint name="shoulder" type="revolute"><parent link="base"/><child link="arm"/><axis xyz="0 1 0"/>
    <limit lower="-1" upper="1" effort="1" velocity="1"/></joint>
</robot>
"""
STRIPPED = '<robot name="arm"><mujoco><compiler meshdir="meshes" strippath="true"/></mujoco>'


def mjcf(inside: str) -> str:
    """An MJCF model."""
    return f"<mujoco>{inside}</mujoco>"


def write(path: Path, content: str | bytes) -> Path:
    """Writes a file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def tetrahedron() -> bytes:
    """A mesh, as an STL file."""
    corners = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    faces = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]
    triangles = [struct.pack("<12fH", 0, 0, 0, *(x for i in face for x in corners[i]), 0) for face in faces]
    return bytes(80) + struct.pack("<I", len(faces)) + b"".join(triangles)


def png() -> bytes:
    """A picture of one grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", 1, 1, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes([0, 9, 9, 9])))
        + chunk(b"IEND", b"")
    )


def saved(model: mujoco.MjModel) -> bytes:
    """All that a compiled model is."""
    buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer.tobytes()


@pytest.fixture
def robot(tmp_path) -> Path:
    """A model that includes a file which includes another, with a mesh and a texture."""
    write(tmp_path / "parts" / "arm.xml", mjcf('<include file="parts/hand.xml"/>' + BALL))
    write(tmp_path / "parts" / "hand.xml", mjcf('<worldbody><site name="hand"/></worldbody>'))
    write(tmp_path / "meshes" / "shell.stl", tetrahedron())
    write(tmp_path / "looks" / "grey.png", png())
    return write(
        tmp_path / "röbot.xml",
        mjcf(
            '<compiler meshdir="meshes" texturedir="looks"/><include file="parts/arm.xml"/>'
            '<asset><mesh name="shell" file="shell.stl"/><texture name="grey" type="2d" file="grey.png"/></asset>'
            '<worldbody><geom name="ä" type="mesh" mesh="shell"/></worldbody>'
        ),
    )


@pytest.mark.parametrize("kind", [str, Path])
def test_what_a_file_includes_and_shows_is_looked_for_beside_it(robot, kind, monkeypatch):
    monkeypatch.chdir("/")
    model = load_model(kind(robot))
    assert model.body("ball").id == 1
    assert model.site("hand").id == 0
    assert model.geom("ä").type == mujoco.mjtGeom.mjGEOM_MESH
    assert (model.nmesh, model.ntex) == (1, 1)
    assert saved(model) == saved(load_spec(kind(robot)).compile())


def test_a_spec_can_be_added_to(robot):
    spec = load_spec(robot)
    spec.body("ball").add_site(name="top", pos=[0, 0, 0.1])
    assert spec.compile().site("top").pos[2] == 0.1


@pytest.mark.parametrize("name", sorted(path.name for path in OURS.glob("*.xml")))
def test_our_own_models_go_by_their_names_and_by_their_paths(name):
    assert saved(load_model(name)) == saved(load_model(OURS / name))


@dataclass(frozen=True, kw_only=True)
class Elsewhere(CartPole):
    """CartPole with a model from a file of the test."""

    file: str = ""

    def model(self) -> mujoco.MjModel:
        return load_model(self.file)


def test_a_task_with_a_model_of_its_own_is_an_environment(tmp_path):
    copy = write(tmp_path / "mine.xml", (OURS / "cartpole.xml").read_bytes())
    register("Test/Elsewhere-v0", Elsewhere, max_episode_steps=10, file=str(copy))
    mine, ours = (gymnasium.make_vec(env_id, num_envs=2) for env_id in ("Test/Elsewhere-v0", "Motrix/CartPole-v0"))
    np.testing.assert_array_equal(mine.reset(seed=1)[0], ours.reset(seed=1)[0])


def test_a_urdf_of_a_fixed_base_is_a_model(tmp_path):
    write(tmp_path / "meshes" / "base.stl", tetrahedron())
    urdf = write(tmp_path / "arm.urdf", URDF.format(mesh="meshes/base.stl"))
    model = load_model(urdf)
    assert (model.nq, model.nv, model.nmesh) == (1, 1, 1)
    assert model.joint("shoulder").range.tolist() == [-1, 1]


def test_the_remedy_for_package_paths_works(tmp_path):
    write(tmp_path / "meshes" / "base.stl", tetrahedron())
    text = URDF.format(mesh="package://arm/meshes/base.stl")
    urdf = write(tmp_path / "arm.urdf", text)
    with pytest.raises(ValueError, match="strippath"):
        load_model(urdf)
    assert load_model(write(urdf, text.replace('<robot name="arm">', STRIPPED))).nmesh == 1


BAD = {
    "missing": ("robto.xml", None, ["there is no such file", "did you mean 'robot.xml'?"]),
    "no folder": ("nowhere/robot.xml", None, ["there is no such file"]),
    "a directory": ("folder", None, ["is a directory", "give the file in it"]),
    "empty": ("robot.xml", "", ["empty file"]),
    "malformed": ("robot.xml", "<mujoco><worldbody></mujoco>", ["XML_ERROR_MISMATCHED_ELEMENT", "worldbody"]),
    "an attribute": (
        "robot.xml",
        mjcf('<worldbody>\n<geom colour="1"/></worldbody>'),
        ["unrecognized attribute: 'colour'", "'geom', line 2"],
    ),
    "an element": ("robot.xml", mjcf("<world/>"), ["'world'"]),
    "another kind": ("robot.xml", "<html/>", ["Unrecognized XML model type: 'html'"]),
    "a suffix": ("robot.txt", mjcf(BALL), ["'.txt'", ".xml, or a .urdf"]),
    "latin-1": ("robot.xml", mjcf('<worldbody><site name="ä"/></worldbody>').encode("latin-1"), ["not UTF-8", "byte "]),
    "utf-16": ("robot.xml", mjcf(BALL).encode("utf-16"), ["not UTF-8"]),
    "an include": ("robot.xml", mjcf('<include file="part.xml"/>'), ["Error opening file 'part.xml'", "'include'"]),
    "itself": ("robot.xml", mjcf('<include file="robot.xml"/>'), ["robot.xml"]),
}
UNCOMPILED = {
    "a mesh": ("robot.xml", mjcf('<asset><mesh file="shell.stl"/></asset>'), ["Error opening file 'shell.stl'"]),
    "a mesh of a URDF": ("robot.urdf", URDF.format(mesh="base.stl"), ["Error opening file 'base.stl'"]),
    "mass": ("robot.xml", mjcf('<worldbody><body name="empty"><freejoint/></body></worldbody>'), ["mass and inertia"]),
}


@pytest.mark.parametrize("case", [*BAD, *UNCOMPILED])
def test_a_bad_file_is_one_line_with_its_name_and_the_reason(tmp_path, case):
    (tmp_path / "folder").mkdir()
    write(tmp_path / "robot.xml", mjcf(BALL))
    name, content, words = (BAD | UNCOMPILED)[case]
    path = tmp_path / name
    if content is not None:
        write(path, content)
    for load in (load_model, load_spec)[: 1 + (case in BAD)]:
        with pytest.raises(ValueError, match=r"^model '.*'") as caught:
            load(path)
        message = str(caught.value)
        assert message.startswith(f"model {str(path)!r}: ")
        assert "\n" not in message
        assert all(word in message for word in words), message


@pytest.mark.parametrize("name", ["go11.xml", Path("robot.xml")])
def test_a_relative_path_is_not_looked_for_in_the_folder_that_a_program_is_started_in(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name, mjcf(BALL))
    with pytest.raises(ValueError, match="no such model in motrix_gym") as caught:
        load_model(name)
    assert 'Path(__file__).parent / "robot.xml"' in str(caught.value)
    assert ("did you mean 'go1.xml'?" in str(caught.value)) == (name == "go11.xml")


def test_a_bad_file_of_a_task_is_refused_when_its_environment_is_made(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        MotrixVectorEnv(Elsewhere(file=str(tmp_path / "none.xml")), 2)
