"""Presets: from a file, into a file and back, and from another package."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motrix_train import presets, toml_file
from motrix_train.cli import run
from motrix_train.config import AlgorithmName, BaseRLCfg, PPOCfg
from motrix_train.settings import changed, read_config, to_toml
from motrix_train.storage.run_directory import RunDirectory

CARTPOLE = "Motrix/CartPole-v0"
PAGE = (Path(__file__).parents[2] / "docs" / "presets.md").read_text(encoding="utf-8")
FILE, ENTRY_POINTS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(TABLE,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
REGISTRATION = """
import gymnasium, motrix_gym
entry_point = gymnasium.spec("Motrix/CartPole-v0").vector_entry_point
for env_id in ("My/Balance-v0", "My/BalanceLong-v0"):
    gymnasium.register(env_id, vector_entry_point=entry_point, max_episode_steps=500)
"""

keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
leaves = st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | keys
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))


def through_a_file(path: Path, cfg: BaseRLCfg, env_fields: dict[str, Any]) -> tuple[BaseRLCfg, dict[str, Any]]:
    """What is read back, on top of a configuration that differs from `cfg` where it can."""
    path.write_text(to_toml(cfg, env_fields), encoding="utf-8")
    settings, read_fields = read_config(path)
    return changed(type(cfg)(seed=7, rollouts=96, training_env={"else": 1}), settings), read_fields


PRESETS: list[tuple[str, AlgorithmName]] = [
    *((env_id, "ppo") for env_id in presets.preset_ids()),
    *((env_id, "sac") for env_id in presets.preset_ids("sac")),
]


@pytest.mark.parametrize(("env_id", "algorithm"), PRESETS)
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_every_preset_goes_through_a_file(env_id: str, algorithm: AlgorithmName, backend: str, tmp_path: Path):
    cfg = presets.preset(env_id, backend, algorithm)
    assert through_a_file(tmp_path / "preset.toml", cfg, {}) == (cfg, {})


@given(st.none() | st.integers(0, 2**63), st.floats(0, 1), st.lists(st.integers(1, 4096), min_size=1, max_size=3))
def test_every_field_goes_through_a_file(tmp_path_factory, seed: int | None, share: float, widths: list[int]):
    cfg = PPOCfg(seed=seed, discount_factor=share, kl_threshold=share * 1e-300, policy_hidden_layer_sizes=tuple(widths))
    assert through_a_file(tmp_path_factory.getbasetemp() / "preset.toml", cfg, {}) == (cfg, {})


@given(st.dictionaries(keys, values, max_size=4))
def test_every_table_goes_through_a_file(tmp_path_factory, table: dict[str, Any]):
    path = tmp_path_factory.getbasetemp() / "table.toml"
    path.write_text(toml_file.write(table), encoding="utf-8", newline="")
    read = toml_file.read(path, "table", "")
    assert json.dumps(read, sort_keys=True) == json.dumps(table, sort_keys=True)  # 1 is not 1.0, nor True


def test_shown_as_a_file_it_gives_what_it_was_shown_from(work: Path, capsys):
    changes = ["--set=seed=none", "--set=rollouts=8", "--env=reward_weights.alive=2", "--env=max_angle=0.3"]
    shown = []
    for given_changes in (changes, ["--config=mine.toml"]):
        arguments = ["show", CARTPOLE, "--backend=torch", *given_changes]
        assert run([*arguments, "--toml"]) == 0
        (work / "mine.toml").write_text(capsys.readouterr().out)
        assert run([*arguments, "--json"]) == 0
        shown.append((json.loads(capsys.readouterr().out), (work / "mine.toml").read_text()))
    assert shown[0] == shown[1]
    assert shown[0][0]["config"]["seed"] is None


@pytest.mark.parametrize("value", ["null", r'"\ud800"', "[[null]]"])
def test_what_toml_cannot_say_is_one_line(value: str, work: Path, capsys):
    assert run(["show", CARTPOLE, "--backend=torch", "--toml", f'--set=training_env={{"a": {{"b": {value}}}}}']) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "training_env.a.b is " in captured.err
    assert captured.err.count("\n") == 1


def test_options_win_over_the_file_and_the_file_over_the_preset(work: Path, capsys):
    (work / "my.toml").write_text(FILE)
    options = ["--set=learning_rate=1e-4", "--env=reward_weights.alive=3"]
    assert run(["show", CARTPOLE, "--backend=torch", "--config=my.toml", "--json", *options]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["config"]["learning_rate"] == 1e-4
    assert shown["config"]["max_env_steps"] == 2_000_000
    assert shown["config"]["policy_hidden_layer_sizes"] == [64, 64]
    assert shown["config"]["training_env"] == {"max_episode_steps": 500}
    assert shown["config"]["rollouts"] == presets.preset(CARTPOLE, "torch").rollouts
    assert shown["env_kwargs"] == {"max_angle": 0.15, "reward_weights": {"alive": 3}}


def test_a_run_is_trained_as_its_file_says_and_goes_on_without_it(work: Path, tiny: tuple[str, ...]):
    (work / "my.toml").write_text(f"seed = 9\nnum_envs = 4\nlearning_epochs = 2\n{FILE}")
    assert run(["train", CARTPOLE, "--config=my.toml", "--run-dir=mine", "-q", *tiny]) == 0
    recorded = RunDirectory(work / "mine").config()
    assert (recorded["seed"], recorded["num_envs"]) == (9, 8)
    assert recorded["env_kwargs"] == {"max_angle": 0.15, "reward_weights": {"alive": 2}}
    assert recorded["config"]["learning_epochs"] == 2
    (work / "my.toml").unlink()
    assert run(["train", "--resume=mine", "--max-env-steps=2048", "-q"]) == 0
    assert RunDirectory(work / "mine").progress()["env_steps"][-1] == 2048
    assert run(["train", CARTPOLE, f"--config={os.devnull}", "--run-dir=other", "--seed=3", "-q", *tiny]) == 0
    assert RunDirectory(work / "other").config()["seed"] == 3


Install = Callable[..., None]
Trainer = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Makes a package as pip leaves it, with one entry point."""

    def install(name: str, table: str, value: str | None = None, package: str = "") -> None:
        module = name.replace("-", "_")
        (tmp_path / module).mkdir()
        (tmp_path / module / "__init__.py").write_text(package)
        (tmp_path / module / "presets.py").write_text(table)
        metadata = tmp_path / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(
            f"[motrix_train.presets]\n{module} = {value or f'{module}.presets:PRESETS'}\n"
        )

    return install


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    """Runs the command in a process that has the packages of `install`."""
    code = "import sys; sys.path.insert(0, '.'); from motrix_train.cli import run; sys.exit(run(sys.argv[1:]))"

    def trainer(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path)

    return trainer


def test_the_package_of_the_page_brings_its_presets(install: Install, trainer: Trainer):
    [(point, value)] = re.findall(r'^(\w+) = "(.+)"$', ENTRY_POINTS, re.MULTILINE)
    assert '"motrix_train.presets"' in ENTRY_POINTS
    install("my-robot", TABLE, value, REGISTRATION)
    assert point == "my_robot"
    shown = trainer("show", "my_robot:My/BalanceLong-v0", "--backend=torch", "--json")
    assert shown.stderr == ""
    config = json.loads(shown.stdout)["config"]
    assert (config["max_env_steps"], config["discount_factor"], config["rollouts"]) == (4_000_000, 0.995, 32)
    listed = trainer("list")
    assert listed.stderr == ""
    _, _, part = listed.stdout.partition("\nMy (preset of my-robot)\n")
    assert re.search(r"^My/Balance-v0 +4 +1 +1 M \(sac 0\.1 M\) +-( |$)", part, re.MULTILINE)
    assert f"\n{CARTPOLE} " not in part


@pytest.mark.parametrize(
    ("table", "value", "reason"),
    [
        ("import nowhere", None, "ModuleNotFoundError: No module named 'nowhere'"),
        ("raise SystemExit('no\\nlicence')", None, "SystemExit: no licence"),
        ("PRESETS = {}", "broken.presets:PRESET", "AttributeError: module 'broken.presets' has no attribute 'PRESET'"),
        ("PRESETS = ['My/Balance-v0']", None, "it is ['My/Balance-v0']; it takes a mapping from environment id"),
        ("PRESETS = {'My/Balance-v0': {'rollouts': 3}}", None, "it has 'My/Balance-v0': {'rollouts': 3}; it takes"),
        (
            "from motrix_train.config import PPOCfg\nPRESETS = {'My/Balance-v0': PPOCfg(rollouts=0)}",
            None,
            "UsageError: rollouts is 0; it takes a whole number",
        ),
        (
            "import numpy as np\nfrom motrix_train.config import PPOCfg\n"
            "PRESETS = {'My/Balance-v0': PPOCfg(training_env={'a': np.int64(1)})}",
            None,
            "TypeError: Object of type int64 is not JSON serializable",
        ),
    ],
)
def test_a_broken_package_is_a_warning_and_breaks_nothing(
    table: str, value: str | None, reason: str, install: Install, trainer: Trainer
):
    install("broken", table, value)
    install("my-robot", TABLE, package=REGISTRATION)
    listed = trainer("list")
    assert listed.returncode == 0
    assert listed.stderr.count("\n") == 1
    assert listed.stderr.startswith(f"the presets of broken ({value or 'broken.presets:PRESETS'}) are left out: ")
    assert reason in listed.stderr
    assert "My/Balance-v0" in listed.stdout


def test_entry_points_that_cannot_be_read_are_a_warning(install: Install, trainer: Trainer):
    install("broken", "PRESETS = {}", "\n= =\n[")
    listed = trainer("list")
    assert listed.returncode == 0
    assert CARTPOLE in listed.stdout
    assert listed.stderr.count("the entry points of broken cannot be read") == 1
    assert "Traceback" not in listed.stderr


def test_a_package_brings_presets_of_both_algorithms(install: Install, trainer: Trainer):
    table = """
from motrix_train.config import PPOCfg, SACCfg
PRESETS = {
    "My/Balance-v0": [PPOCfg(rollouts=6), SACCfg(rollouts=7, max_env_steps=70_000)],
    "My/BalanceLong-v0": SACCfg(rollouts=8),
}
"""
    install("my-robot", table, package=REGISTRATION)
    found = {}
    for env_id in ("My/Balance-v0", "My/BalanceLong-v0"):
        for algorithm in ("ppo", "sac"):
            asked = ("show", f"my_robot:{env_id}", "--backend=torch", "--json", f"--algorithm={algorithm}")
            found[env_id, algorithm] = json.loads(trainer(*asked).stdout)["config"]["rollouts"]
    assert list(found.values()) == [6, 7, PPOCfg().rollouts, 8]
    assert re.search(r"^My/Balance-v0 .* 10 M \(sac 0.07 M\) ", trainer("list").stdout, re.MULTILINE)


def test_two_presets_for_one_algorithm_are_a_warning(install: Install, trainer: Trainer):
    table = "from motrix_train.config import SACCfg\nPRESETS = {'My/Balance-v0': [SACCfg(), SACCfg()]}"
    install("my-robot", table, package=REGISTRATION)
    shown = trainer("show", "my_robot:My/Balance-v0", "--backend=torch", "--json")
    assert shown.returncode == 0
    assert "it has two presets for My/Balance-v0 with SAC; it takes one" in shown.stderr


def test_no_package_replaces_the_preset_of_another(install: Install, trainer: Trainer):
    install("my-robot", TABLE, package=REGISTRATION)
    install("rival", TABLE.replace("My/BalanceLong-v0", CARTPOLE).replace("rollouts=32", "rollouts=4"))
    shown = trainer("show", "my_robot:My/Balance-v0", "--backend=torch", "--json")
    assert json.loads(shown.stdout)["config"]["rollouts"] == 32
    assert shown.stderr.splitlines() == [
        f"the preset of rival for {env_id} is left out: {owner} has one; give yours with --config"
        for env_id, owner in (
            ("My/Balance-v0", "my-robot"),
            ("My/Balance-v0 with SAC", "my-robot"),
            (CARTPOLE, "motrix-gym"),
        )
    ]
    shown = trainer("show", CARTPOLE, "--backend=torch", "--json")
    assert json.loads(shown.stdout)["config"]["rollouts"] == presets.preset(CARTPOLE, "torch").rollouts
