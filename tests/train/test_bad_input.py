"""Every mistake is one clear line with the right exit code, and leaves nothing half-written."""

import dataclasses
import sys
from pathlib import Path

import pytest

from motrix_train.cli import run
from motrix_train.storage import checkpoint

CARTPOLE = "Motrix/CartPole-v0"
TRAIN = ("train", CARTPOLE, "--backend=torch")


def files(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in directory.rglob("*")}


@pytest.fixture
def refused(work, capsys):
    """Runs a command that must be refused: returns its line."""

    def refuse(arguments, code: int) -> str:
        before = files(work)
        assert run([str(argument) for argument in arguments]) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("motrix-train: ")
        assert captured.err.count("\n") == 1
        assert "Traceback" not in captured.err
        assert files(work) == before
        return captured.err

    return refuse


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian", CARTPOLE], "Did you mean 'train'"),
        (["train"], "name an environment"),
        ([*TRAIN, "--colour=red"], "No such option: --colour"),
        (["train", "Motrix/CartPoll-v0"], "did you mean Motrix/CartPole-v0?"),
        (["train", "cartpole"], "did you mean Motrix/CartPole-v0?"),
        (["train", "nowhere:Motrix/CartPole-v0"], "no environment 'nowhere:Motrix/CartPole-v0'"),
        (
            ["train", "CartPole-v1", "--backend=torch"],
            "CartPole-v1 does not reset its environments in the step",
        ),
        ([*TRAIN, "--backend=tensorflow"], "unknown backend 'tensorflow'"),
        ([*TRAIN, "--set=rolouts=3"], "did you mean 'rollouts'?"),
        ([*TRAIN, "--set=rollouts=many"], "rollouts=many"),
        ([*TRAIN, "--set=rollouts"], "--set rollouts: write it as field=value"),
        ([*TRAIN, "--set=mini_batches=7"], "mini_batches 7"),
        ([*TRAIN, "--num-envs=0"], "--num-envs"),
        ([*TRAIN, "--num-envs=few"], "--num-envs"),
        ([*TRAIN, "--set=num_envs=0"], "num_envs is 0"),
        ([*TRAIN, "--env=max_angel=0.1"], "did you mean 'max_angle'?"),
        ([*TRAIN, "--env=max_angle=steep"], "max_angle is 'steep'; it takes a finite number"),
        ([*TRAIN, "--env=max_angle=NaN"], "max_angle is nan; it takes a finite number"),
        ([*TRAIN, "--env=reward_weights.alvie=1"], "did you mean 'alive'?"),
        ([*TRAIN, "--env=control_dt=0.0123"], "control_dt 0.0123"),
        ([*TRAIN, "--env=max_angle"], "write it as name=value"),
        ([*TRAIN, "--env=.a=1"], "write it as name=value"),
        ([*TRAIN, "--env=max_angle=1", "--env=max_angle.x=1"], "max_angle already has the value 1"),
        ([*TRAIN, "--env=num_envs=4"], "use --num-envs 4"),
        ([*TRAIN, "--env=render_mode=human"], "render_mode is not a field of the task"),
        ([*TRAIN, "--device=abacus"], "'abacus'"),
        ([*TRAIN, "--seed=1", "--random-seed"], "exclude each other"),
        ([*TRAIN, "--seed=-1"], "--seed"),
        ([*TRAIN, "--max-env-steps=0"], "--max-env-steps"),
        ([*TRAIN, "--max-env-steps=1.5"], "'1.5' is no whole number"),
        ([*TRAIN, "--max-env-steps=nan"], "'nan' is no whole number"),
        ([*TRAIN, "--max-env-steps=many"], "'many' is no whole number"),
        ([*TRAIN, "--run-dir=."], "run directory . exists"),
        ([*TRAIN, "--config=none.toml"], "there is no configuration none.toml: write one with `motrix-train show ENV"),
        ([*TRAIN, "--config=."], ". is a directory: write one with"),
        pytest.param(
            [*TRAIN, "--config=/dev/zero"],
            "/dev/zero: it is too long: give a file of at most 65,536 bytes",
            marks=pytest.mark.posix,
        ),
        (["train", "--resume=run", "--config=my.toml"], "config my.toml does not go with --resume"),
        (["show", "Motrix/Goo1-v0"], "did you mean Motrix/Go1-v0?"),
        (["show", CARTPOLE, "--json", "--toml"], "--json and --toml exclude each other"),
        (["evaluate", CARTPOLE], f"train it first, with `motrix-train train {CARTPOLE}`"),
        (["evaluate", "runs/none"], "there is no run directory runs/none"),
        (["evaluate", "policy.safetensors"], "there is no policy policy.safetensors"),
        (["evaluate", "policy.onnx"], ".onnx"),
        (["evaluate", CARTPOLE, "--episodes=0"], "--episodes"),
        (["play", CARTPOLE], f"train it first, with `motrix-train train {CARTPOLE}`"),
        (["play", CARTPOLE, "--video=play.mp4", "--seconds=inf"], "--seconds inf"),
        (["play", CARTPOLE, "--video=play.gif"], "must end in .mp4"),
        (["play", CARTPOLE, "--video=play.mp4"], f"train it first, with `motrix-train train {CARTPOLE}`"),
    ],
    ids=lambda value: " ".join(value).replace(" ".join(TRAIN), "train ...") if isinstance(value, list) else "",
)
def test_a_mistake_of_the_user_is_exit_code_2(refused, arguments, said):
    assert said in refused(arguments, 2)


@pytest.mark.parametrize("command", ["train", "show"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"rolouts = 3", "my.toml: unknown setting 'rolouts'; did you mean 'rollouts'?"),
        (b"[envs]", "my.toml: unknown setting 'envs'; did you mean 'env'?"),
        (b"rollouts = 'many'", "my.toml: rollouts=many cannot be read: give a whole number"),
        (b"rollouts = 2.5", "my.toml: rollouts is 2.5; it takes a whole number"),
        (b"rollouts = true", "my.toml: rollouts is True; it takes a whole number"),
        (b"rollouts = 0", "my.toml: rollouts is 0; it takes a whole number"),
        (b"rollouts = 1e400", "my.toml: rollouts is inf; it takes a whole number"),
        (b"learning_rate = nan", "my.toml: learning_rate is nan; it takes a"),
        (b"policy_hidden_layer_sizes = [64, 'b']", "my.toml: policy_hidden_layer_sizes[1] is 'b'; it takes a whole"),
        (b"training_env = 3", "my.toml: training_env is 3; it takes"),
        (b"training_env.a = 2020-01-01", "my.toml: training_env.a is 2020-01-01; it takes numbers, texts"),
        (b"training_env.a = [{ b = 07:30:00 }]", "my.toml: training_env.a.b is 07:30:00; it takes numbers, texts"),
        (b"mini_batches = 7", "mini_batches 7"),
        (b"env = 3", "my.toml: env is 3; it takes a table of fields of the task"),
        (b"env.num_envs = 3", "my.toml: env.num_envs: num_envs is not a field of the task"),
        (
            b"env.max_angel = 3",
            "my.toml: Motrix/CartPole-v0: CartPole got an unexpected keyword argument 'max_angel'; did",
        ),
        (b"env.reward_weights.alvie = 3", "my.toml: Motrix/CartPole-v0: reward_weights has no term 'alvie'; did you"),
        (
            b"rollouts = 3\nrollouts 4",
            "my.toml: it is no TOML: Expected '=' after a key in a key/value pair (at line 2",
        ),
        (b"rollouts = 3\nrollouts = 3\nseed = 1", "my.toml: it is no TOML: Cannot overwrite a value (at line 2"),
        (b"activation = '\xff'", "my.toml: it is no TOML: it is not written in UTF-8"),
        (b"seed = " + b"9" * 9999, "my.toml: it is no TOML"),
        (b"seed = " + b"9" * 99, "my.toml: it holds a whole number of 329 bits"),
        (b"training_env.a = " + b"[" * 9999, "my.toml: it is nested deeper than 32 brackets"),
        (b"training_env." + b"a." * 99 + b"a = 1", "my.toml: it is nested deeper than 32 brackets"),
        (b"#" * 2**16 + b"#", "my.toml: it is too long: give a file of at most 65,536 bytes"),
    ],
    ids=lambda value: value.decode(errors="replace")[:40].replace("\n", " ") if isinstance(value, bytes) else "",
)
def test_a_mistake_in_a_configuration_names_the_file(refused, work, content, said, command):
    (work / "my.toml").write_bytes(content)
    assert said in refused([command, CARTPOLE, "--backend=torch", "--config=my.toml"], 2)


def test_a_mistake_that_is_typed_beside_a_configuration_does_not_name_the_file(refused, work):
    (work / "my.toml").write_text("env.max_angle = 0.1")
    line = refused([*TRAIN, "--config=my.toml", "--env=max_angel=3"], 2)
    assert line.startswith("motrix-train: Motrix/CartPole-v0: CartPole got an unexpected keyword argument 'max_angel'")


@pytest.mark.parametrize("command", [["evaluate"], ["play", "--video=play.mp4"]], ids=["evaluate", "play"])
def test_a_module_is_a_part_of_the_remedy(refused, work, monkeypatch, command):
    register = 'register("Own/Pole-v0", "motrix_gym.tasks.basic.cartpole:CartPole", max_episode_steps=10)'
    (work / "poles.py").write_text(f"from motrix_gym import register\n{register}\n")
    monkeypatch.syspath_prepend(str(work))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert "train it first, with `motrix-train train poles:Own/Pole-v0`" in refused([*command, "poles:Own/Pole-v0"], 2)
    assert "? If not, one of another package needs --import PACKAGE" in refused([*command, "Other/Pole-v0"], 2)


@pytest.mark.parametrize(
    "arguments",
    [
        [*TRAIN, "--run-dir=file/run"],
        ["play", CARTPOLE, "--video=file/play.mp4"],
        ["play", CARTPOLE, "--video=/proc/play.mp4"],
    ],
    ids=["run below a file", "video below a file", "video in a read-only place"],
)
def test_a_disk_that_refuses_is_exit_code_1(refused, work, arguments):
    (work / "file").touch()
    assert "cannot write" in refused(arguments, 1)


def test_runs_that_cannot_be_made_here(refused, work):
    (work / "runs").touch()
    assert "cannot write" in refused(TRAIN, 1)


@pytest.fixture
def policy(trained, work) -> Path:
    """A policy of CartPole that may be spoilt."""
    path = work / "policy.safetensors"
    path.write_bytes((trained.checkpoints / "last.safetensors").read_bytes())
    return path


def test_a_truncated_policy(refused, policy):
    policy.write_bytes(policy.read_bytes()[:-1000])
    assert "policy.safetensors" in refused(["evaluate", policy], 1)


def test_a_corrupted_policy(refused, policy):
    content = bytearray(policy.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 256] = bytes(byte ^ 0xFF for byte in content[middle : middle + 256])
    policy.write_bytes(bytes(content))
    assert "policy.safetensors" in refused(["evaluate", policy], 1)


def test_a_file_that_is_no_policy(refused, work):
    (work / "policy.safetensors").write_text("walk this way")
    assert "policy.safetensors" in refused(["evaluate", "policy.safetensors"], 1)


def test_a_policy_of_another_environment(refused, policy):
    foreign = dataclasses.replace(checkpoint.read(policy), env_id="Motrix/Go1-v0")
    checkpoint.write(policy, foreign)
    said = refused(["play", CARTPOLE, "--policy", policy, "--video=play.mp4"], 2)
    assert "Motrix/Go1-v0" in said
    assert CARTPOLE in said


def test_a_policy_for_other_observations(refused, policy):
    checkpoint.write(policy, dataclasses.replace(checkpoint.read(policy), observation_shape=(5,)))
    assert "(5,)" in refused(["evaluate", policy], 2)


def test_a_policy_of_other_layer_sizes(refused, policy):
    good = checkpoint.read(policy)
    checkpoint.write(policy, dataclasses.replace(good, config={**good.config, "policy_hidden_layer_sizes": [16, 16]}))
    assert "layer sizes" in refused(["evaluate", policy], 2)


def test_two_policies(refused, policy):
    assert "give one of them" in refused(["play", policy, "--policy", policy, "--video=play.mp4"], 2)


def test_a_run_without_a_policy(refused, work):
    (work / "run").mkdir()
    (work / "run" / "config.json").write_text('{"env_id": "Motrix/CartPole-v0"}')
    assert "has no policy" in refused(["evaluate", "run"], 2)


def test_a_run_whose_configuration_is_damaged(refused, work):
    (work / "run").mkdir()
    (work / "run" / "config.json").write_text("{")
    assert "is damaged" in refused(["evaluate", "run"], 1)
