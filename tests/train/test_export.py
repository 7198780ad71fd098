"""An exported policy acts as the policy does, says what it needs, and runs on plain MuJoCo."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import mujoco
import numpy as np
import pytest
import script_files
from hypothesis import given
from hypothesis import strategies as st

from motrix_gym.registration import ENVS, make_vector
from motrix_gym.tasks.basic.cartpole import CartPole
from motrix_train import env_protocol, environment
from motrix_train.cli import run
from motrix_train.config import PPOCfg, to_json
from motrix_train.errors import RunError, UsageError
from motrix_train.export import actuation, export
from motrix_train.learning import backend
from motrix_train.learning.policy import NumpyPolicy
from motrix_train.learning.symmetry import NetworkSymmetry
from motrix_train.storage import checkpoint
from motrix_train.storage.checkpoint import Checkpoint
from motrix_train.storage.run_directory import RunDirectory

onnx = pytest.importorskip("onnx", reason="the export needs an extra")
onnxruntime = pytest.importorskip("onnxruntime", reason="the export needs an extra")

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "onnx_mujoco.py"
PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
CARTPOLE, GO1 = "Motrix/CartPole-v0", "Motrix/Go1-v0"
CFG = PPOCfg(num_envs=2, rollouts=2, mini_batches=1, policy_hidden_layer_sizes=(24, 16), value_hidden_layer_sizes=(8,))
SHARED = {"share_policy_value_features": True, "value_hidden_layer_sizes": CFG.policy_hidden_layer_sizes}
VARIANTS = [
    ("torch", GO1, {"activation": "elu"}),
    ("torch", GO1, {"activation": "relu", "mirror": "policy"}),
    ("torch", GO1, {"activation": "tanh", "mirror": "policy_and_value", **SHARED}),
    ("torch", CARTPOLE, {"activation": "tanh", **SHARED}),
    ("torch", CARTPOLE, {"policy_hidden_layer_sizes": (16,) * 12}),
    ("jax", GO1, {"activation": "elu", "mirror": "policy"}),
    ("jax", GO1, {"activation": "relu"}),
    ("jax", CARTPOLE, {"activation": "tanh", "policy_hidden_layer_sizes": (16,) * 12}),
]


def untrained(name: str, env_id: str, env_kwargs: dict[str, Any] | None = None, **changes: Any) -> Checkpoint:
    """A policy that has learned nothing, but whose every number is one of its own."""
    pytest.importorskip(name)
    env_kwargs = env_kwargs or {}
    env: Any = environment.make_env(env_id, 2, env_kwargs)
    cfg, chosen = replace(CFG, **changes), backend.select(name)
    spaces = env.single_observation_space, env.single_action_space
    chosen.seed_everything(0)
    agent = chosen.make_agent(*spaces, 2, cfg, NetworkSymmetry.of(env), "cpu")
    state = chosen.agent_state(agent)
    env.close()
    rng = np.random.default_rng(0)
    state["policy"] = shaken(state["policy"], rng)
    scaler = state["observation_normalizer"]
    for moment, least in (("mean", -0.5), ("variance", 0.2)):
        scaler[moment] = rng.uniform(least, 1.0, scaler[moment].shape).astype(scaler[moment].dtype)
    shapes = spaces[0].shape, spaces[1].shape
    bounds = tuple(spaces[1].low.tolist()), tuple(spaces[1].high.tolist())
    return Checkpoint(env_id, env_kwargs, name, to_json(cfg), *shapes, *bounds, 1234, 5, {"numpy": "2"}, state=state)


def shaken(tree: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The same arrays with noise, so large that actions are neither all tiny nor all at their bounds."""
    return {
        key: shaken(leaf, rng) if isinstance(leaf, dict) else leaf + 0.1 * rng.standard_normal(leaf.shape, np.float32)
        for key, leaf in tree.items()
    }


def exported(policy: Checkpoint, path: Path) -> export.Export:
    return export.export(policy, NumpyPolicy(policy), path)


def act(path: Path, observations: np.ndarray, output: str = "action") -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run([output], {"observation": observations.astype(np.float32)})[0]


def metadata(path: Path) -> dict[str, Any]:
    """The metadata, decoded where it is JSON."""
    texts = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    plain = ("env_id", "backend")
    return {name: text if name in plain else json.loads(text) for name, text in texts.items()}


@pytest.mark.parametrize(("name", "env_id", "changes"), VARIANTS)
def test_the_file_acts_as_the_policy(name, env_id, changes, tmp_path):
    policy, path = untrained(name, env_id, **changes), tmp_path / "policy.onnx"
    told = exported(policy, path)
    assert told.observations == 1000
    assert told.difference <= 1e-5
    space: Any = environment.make_env(env_id, 1, {}).single_action_space
    observations = np.random.default_rng(7).normal(0.2, 2.0, (1000, *policy.observation_shape)).astype(np.float32)
    means = NumpyPolicy(policy)(observations)
    assert np.mean((means > space.low) & (means < space.high)) > 0.3
    assert means.std() > 0.05
    assert act(path, observations) == pytest.approx(np.clip(means, space.low, space.high), abs=1e-5)


@pytest.mark.parametrize("env_id", [env.id for env in ENVS])
def test_every_environment_can_be_exported(env_id, tmp_path):
    policy, path = untrained("torch", env_id), tmp_path / "policy.onnx"
    exported(policy, path)
    told = metadata(path)
    assert told["observation_blocks"][-1]["stop"] == policy.observation_shape[0]
    if "actuators" in told:
        export.write_model(policy, path.with_suffix(".xml"))
        written = mujoco.MjModel.from_xml_path(str(path.with_suffix(".xml")))
        assert [written.actuator(i).name for i in range(written.nu)] == told["actuators"]
        model = env_protocol.task_of(environment.make_env(env_id, 1, {})).model()
        np.testing.assert_allclose(written.body_mass, model.body_mass, rtol=1e-5)
        np.testing.assert_allclose(written.hfield_data, model.hfield_data, atol=1e-5)


def test_it_takes_any_number_of_rows_and_numbers_of_any_size(tmp_path):
    policy, path = untrained("torch", CARTPOLE), tmp_path / "policy.onnx"
    policy.state["observation_normalizer"]["variance"][1] = 0.0
    exported(policy, path)
    mean = NumpyPolicy(policy)
    for rows in (1, 7):
        observations = 10.0 ** np.linspace(-9, 30, 4 * rows, dtype=np.float32).reshape(rows, 4)
        for signed in (observations, -observations):
            assert act(path, signed) == pytest.approx(np.clip(mean(signed), -3, 3), abs=1e-5)


def test_ctrl_is_what_the_environment_gives_its_actuators(tmp_path):
    path = tmp_path / "policy.onnx"
    assert exported(untrained("torch", GO1, {"action_scale": 0.25}), path).outputs == ("action", "ctrl")
    observations = np.random.default_rng(3).normal(0.0, 1.0, (50, 50))
    stand = np.tile([0.0, 0.9, -1.8], 4)
    assert act(path, observations, "ctrl") == pytest.approx(stand + 0.25 * act(path, observations), abs=1e-5)
    assert metadata(path)["ctrl_offset"] == stand.tolist()


def test_the_metadata_says_which_blocks_of_how_many_steps(tmp_path):
    fields = {"observed": ["gravity", "command"], "history": 4}
    exported(untrained("torch", GO1, fields), tmp_path / "policy.onnx")
    told = metadata(tmp_path / "policy.onnx")
    assert told["observation_blocks"] == [
        {"name": "gravity", "start": 0, "stop": 12, "history": 4},
        {"name": "command", "start": 12, "stop": 24, "history": 4},
    ]
    assert (told["task"]["observed"], told["task"]["history"]) == (["gravity", "command"], 4)
    two = [{"id": CARTPOLE, "name": name, "kwargs": {"history": 2}} for name in "ab"]
    exported(untrained("torch", "Motrix/MultiTask-v0", {"tasks": two}), tmp_path / "policy.onnx")
    assert [block["history"] for block in metadata(tmp_path / "policy.onnx")["observation_blocks"]] == [2, 2, 1]


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_the_metadata_describes_the_environment(name, tmp_path):
    policy, path = untrained(name, GO1, {"max_tilt": 0.8}), tmp_path / "policy.onnx"
    exported(policy, path)
    env: Any = environment.make_env(GO1, 1, {"max_tilt": 0.8})
    task, model, told = env.unwrapped.task, env.unwrapped.task.model(), metadata(path)
    blocks = {block["name"]: slice(block["start"], block["stop"]) for block in told["observation_blocks"]}
    assert list(blocks.items()) == list(env.unwrapped.observation_blocks.items())
    assert told["task"] == json.loads(json.dumps(asdict(task)))
    assert (told["env_id"], told["env_kwargs"], told["control_dt"]) == (GO1, {"max_tilt": 0.8}, 0.02)
    assert (told["action_low"], told["action_high"]) == ([-1.0] * 12, [1.0] * 12)
    assert told["actuators"] == [model.actuator(i).name for i in range(model.nu)]
    assert told["joints"] == [f"{actuator}_joint" for actuator in told["actuators"]]
    assert (told["backend"], told["env_steps"], told["seed"], told["versions"]) == (name, 1234, 5, {"numpy": "2"})
    loaded = onnx.load(path)
    assert GO1 in loaded.doc_string
    shapes = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in loaded.graph.output
    ]
    assert shapes == [["N", 12], ["N", 12]]


@st.composite
def affine_functions(draw: st.DrawFn) -> actuation.Affine:
    nu, m = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = 10.0 ** draw(st.integers(-2, 3))
    return actuation.Affine(scale * rng.standard_normal((nu, m)), scale * rng.standard_normal(nu))


@given(affine_functions())
def test_an_affine_function_is_found_and_a_limited_one_is_not(affine: actuation.Affine):
    actions = np.random.default_rng(0).uniform(-1, 1, (100, affine.gain.shape[1]))
    ctrls = affine(actions)
    found = actuation.fit(actions, ctrls)
    assert found is not None
    assert found.gain == pytest.approx(affine.gain, abs=1e-9)
    assert found.offset == pytest.approx(affine.offset, abs=1e-9)
    assert actuation.fit(actions, np.minimum(ctrls, np.median(ctrls, axis=0))) is None
    assert actuation.fit(np.ones_like(actions), ctrls) is None


@dataclass(frozen=True, kw_only=True)
class Feedback(CartPole):
    """The CartPole, driven with help: `help_` of the pole's angle, and no more than `limit`."""

    WEIGHTS: ClassVar = CartPole.WEIGHTS
    help_: float = 0.0
    limit: float = 3.0

    def control(self, physics, task_state, action):
        return np.clip(action + self.help_ * physics.qpos[:, 1:], -self.limit, self.limit)


@pytest.mark.parametrize(("kwargs", "affine"), [({}, True), ({"help_": 0.1}, False), ({"limit": 2.9}, False)])
def test_ctrl_is_left_out_where_it_is_not_of_the_action_alone(kwargs, affine):
    env: Any = make_vector(f"{__name__}:Feedback", num_envs=4, **kwargs)
    found = actuation.find(env, env.task.model())
    assert (found is not None) == affine
    if found is not None:
        assert (found.gain, found.offset) == (1.0, 0.0)


def test_an_environment_from_elsewhere_has_actions_alone(tmp_path):
    policy, path = untrained("torch", "Pendulum-v1"), tmp_path / "policy.onnx"
    assert exported(policy, path).outputs == ("action",)
    told = metadata(path)
    assert (told["env_id"], told["action_high"]) == ("Pendulum-v1", [2.0])
    assert "observation_blocks" not in told
    with pytest.raises(UsageError, match="Pendulum-v1 does not say what its model is"):
        export.write_model(policy, tmp_path / "pendulum.xml")


def test_a_file_that_acts_otherwise_is_not_kept(tmp_path, monkeypatch):
    from motrix_train.export import onnx_graph

    policy, path = untrained("torch", CARTPOLE), tmp_path / "policy.onnx"
    exported(policy, path)
    before = path.read_bytes()
    monkeypatch.setattr(onnx_graph, "CLIP_THRESHOLD", 4.0)
    with pytest.raises(RunError, match=r"would act otherwise than the policy, by up to .*: nothing was written"):
        exported(policy, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_policy_that_diverged_is_not_exported(tmp_path):
    policy = untrained("torch", CARTPOLE)
    policy.state["policy"]["output"]["bias"][0] = np.nan
    with pytest.raises(RunError, match="not finite"):
        exported(policy, tmp_path / "policy.onnx")
    assert not list(tmp_path.iterdir())


def test_the_written_model_is_the_model(tmp_path):
    export.write_model(untrained("torch", GO1), tmp_path / "go1.xml")
    written = mujoco.MjModel.from_xml_path(str(tmp_path / "go1.xml"))
    env: Any = environment.make_env(GO1, 1, {})
    model = env.unwrapped.task.model()
    for array in ("body_mass", "body_inertia", "actuator_gainprm", "actuator_biasprm", "dof_damping", "jnt_range"):
        assert getattr(written, array) == pytest.approx(getattr(model, array), abs=1e-5), array
    numbered = re.compile(rb"geom \d+")  # geoms without a name get one for the list of contact pairs
    names = {name for name in model.names.split(b"\0") if not numbered.fullmatch(name)}
    assert {*written.names.split(b"\0")} == names


def test_the_command_exports_the_best_policy_of_a_run(trained, work, capsys):
    shutil.copytree(trained.path, "mine")
    assert run(["export", "mine", "--onnx", "--model", "cartpole.xml"]) == 0
    shown = capsys.readouterr().out
    best = Path("mine/checkpoints/best")
    assert f"{best}.safetensors -> {best}.onnx, from observation to action and ctrl\n" in shown
    difference = float(re.findall(r"On 1000 observations .* torch policy by (\S+) at most", shown)[0])
    assert difference <= 1e-5
    observations = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    policy = NumpyPolicy(checkpoint.read(f"{best}.safetensors"))
    assert act(Path(f"{best}.onnx"), observations) == pytest.approx(np.clip(policy(observations), -3, 3), abs=1e-5)
    assert mujoco.MjModel.from_xml_path("cartpole.xml").nu == 1
    mine = RunDirectory(Path("mine"))
    assert mine.best_policy() == mine.checkpoint("best") == Path(f"{best}.safetensors")
    assert run(["export", "mine"]) == 0
    assert f"{best}.onnx (replaced)" in capsys.readouterr().out


def test_the_help_has_an_example(capsys):
    assert run(["export", "--help"]) == 0
    assert "Example: motrix-train export" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--onnx", "--output=policy.safetensors"], 2, "policy.safetensors must end in .onnx"),
        (["--onnx", "--model=model.onnx"], 2, "model.onnx must end in .xml"),
        (["--onnx", "--output=nowhere/p.onnx"], 1, "cannot write nowhere/p.onnx: No such file or directory"),
        (
            ["--onnx", "--output=policy.safetensors/p.onnx"],
            1,
            "cannot write policy.safetensors/p.onnx: Not a directory",
        ),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(arguments, code, said, trained, work, capsys):
    shutil.copy(trained.best_policy(), "policy.safetensors")
    assert run(["export", "policy.safetensors", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert os.listdir() == ["policy.safetensors"]


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_packages_it_says_what_to_install(package, trained, work, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert run(["export", str(trained.path), "--onnx"]) == 2
    assert capsys.readouterr().err == f"motrix-train: export needs {package}: pip install 'motrix-gym[onnx]'\n"


OBSERVED = ["angular_velocity", "gravity", "joint_position", "joint_velocity", "last_action", "command", "gait_clock"]


@pytest.fixture(params=[{}, {"observed": OBSERVED, "history": 3}], ids=["all blocks", "some blocks of three steps"])
def go1_files(request, tmp_path) -> tuple[Checkpoint, Path, Path]:
    """A policy of the Go1, exported, and the model."""
    policy = untrained("torch", GO1, request.param, mirror="policy")
    files = tmp_path / "go1.onnx", tmp_path / "go1.xml"
    exported(policy, files[0])
    export.write_model(policy, files[1])
    return policy, *files


def test_the_example_sees_what_the_environment_shows(go1_files, monkeypatch):
    policy, file, model_file = go1_files
    example = script_files.load(EXAMPLE, monkeypatch)
    mean = NumpyPolicy(policy)
    model = mujoco.MjModel.from_xml_path(str(model_file))
    data, told = mujoco.MjData(model), metadata(file)
    fields = {"still_probability": 0.0, "command_low": (0.3, 0.3, 0.3)}
    env: Any = environment.make_env(GO1, 1, {**policy.env_kwargs, **fields})
    observations, _ = env.reset(seed=1)
    steps: list[dict[str, Any]] = []
    for _ in range(5):
        state = env.unwrapped.get_state()
        mujoco.mj_setState(model, data, state["simulation"][0], int(mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_forward(model, data)
        task_state = (state[f"memory.{name}"][0] for name in ("action", "command", "phase"))
        blocks = example.blocks_of(data, told, *task_state)
        steps = [*steps[1:], blocks] if steps else [blocks] * told["task"]["history"]
        assert example.observation(steps, told) == pytest.approx(observations, abs=1e-5)
        action = act(file, observations)
        assert action == pytest.approx(np.clip(mean(observations), -1, 1), abs=1e-5)
        observations, *_ = env.step(action)
    env.close()


def test_the_example_runs_without_this_project(go1_files):
    _, file, model_file = go1_files
    code = (
        f"import runpy, sys; sys.argv = ['', {str(file)!r}, {str(model_file)!r}];"
        f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__');"
        "sys.exit(', '.join(name for name in sys.modules if name.startswith('motrix')) or 0)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert re.fullmatch(r"told to go 4 m forward in 5 s: went \S+ m, .*\n", process.stdout)


def test_the_example_of_other_worlds_runs_and_changes_them(go1_files):
    _, file, model_file = go1_files
    command = [sys.executable, str(EXAMPLE.with_name("sim_to_sim.py")), str(file), str(model_file)]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    first, *worlds = process.stdout.splitlines()
    assert first == "told to go 8 m forward in 10 s"
    found = [line[32:] for line in worlds]
    assert len(set(found)) == len(found) == 6


def test_the_page_shows_options_that_exist():
    pytest.importorskip("typer", reason="the command line needs an extra")
    from motrix_train.cli import imported_command

    known = {flag for option in imported_command("export").params for flag in option.opts}
    shown = re.findall(r"^motrix-train export .+", PAGE, re.MULTILINE)
    assert shown
    for command in shown:
        assert {word for word in shlex.split(command) if word.startswith("--")} <= known


def test_the_page_names_every_key_of_the_metadata(go1_files, monkeypatch):
    _, file, _ = go1_files
    named = {key for row in re.findall(r"^\| (`.+?`) \|", PAGE, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    assert metadata(file).keys() <= named
    monkeypatch.chdir(file.parent)
    (snippet,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(snippet, {})
