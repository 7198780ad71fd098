"""The command line from end to end, with real runs."""

import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from matplotlib.image import imread

import motrix_train
from motrix_gym.task_check import TaskError
from motrix_train import environment
from motrix_train.cli import run
from motrix_train.policies import TrainedPolicy
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory

CARTPOLE = "Motrix/CartPole-v0"
COMMANDS = ("list", "show", "train", "view", "play", "evaluate", "plot", "export", "new")


def command(*arguments: str, **kwargs) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "motrix_train", *arguments], capture_output=True, text=True, **kwargs)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches_with_an_example(name, capsys):
    assert run([name, "--help"]) == 0
    assert f"Example: motrix-train {name}" in capsys.readouterr().out


def test_without_arguments_it_tells_what_there_is(capsys):
    assert run([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


def test_the_mistake_of_a_task_is_one_line_and_another_error_is_none_of_the_users(monkeypatch, capsys):
    def refuses(mistake: Exception):
        def refuse() -> None:
            raise mistake

        monkeypatch.setattr("motrix_train.commands.listing.list_environments", refuse)

    refuses(TaskError("Walker.reward has\n3 rows, not 2"))
    assert run(["list"]) == 2
    assert capsys.readouterr().err == "motrix-train: Walker.reward has 3 rows, not 2\n"
    refuses(ValueError("a defect"))
    with pytest.raises(ValueError, match="a defect"):
        run(["list"])


def test_looking_around_imports_no_learning_library():
    look = (
        "import sys; from motrix_train.cli import run; run(['list']); run(['train', '--help']);"
        "sys.exit(', '.join({'torch', 'jax', 'skrl', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    process = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_show_resolves_what_train_would_use(capsys):
    changes = ["--set", "rollouts=16", "--env", "reward_weights.alive=2"]
    assert run(["show", CARTPOLE, "--backend", "torch", "--json", *changes]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["config"]["rollouts"] == 16
    assert shown["env_kwargs"] == {"reward_weights": {"alive": 2}}
    assert shown["task"]["reward_weights"]["alive"] == 2
    assert shown["max_episode_steps"] == 1000


def test_show_names_the_fields_as_the_command_line_takes_them(capsys):
    assert run(["show", CARTPOLE, "--backend", "torch"]) == 0
    shown = capsys.readouterr().out
    assert "reward_weights.alive" in shown
    assert "learning_rate" in shown


def test_a_module_may_stand_before_the_id(capsys):
    assert run(["show", f"motrix_gym:{CARTPOLE}", "--backend", "torch", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["env_id"] == CARTPOLE


def test_a_run_leaves_what_it_should(trained):
    names = {path.relative_to(trained.path).as_posix() for path in trained.path.rglob("*") if path.is_file()}
    assert {"config.json", "progress.csv", "learning_curve.png"} <= names
    assert {f"checkpoints/{name}.safetensors" for name in ("best", "last", "step_512", "step_1024")} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not any(Path(name).name.startswith(".") for name in names)


def test_a_run_says_what_it_was(trained):
    config = trained.config()
    assert (config["env_id"], config["seed"], config["num_envs"]) == (CARTPOLE, 3, 8)
    assert (config["config"]["rollouts"], config["config"]["seed"]) == (32, 3)
    assert config["command"].startswith("motrix-train train Motrix/CartPole-v0 --seed=3 --backend=torch")
    assert "mujoco" in config["versions"]


def test_progress_has_a_line_for_each_rollout(trained):
    progress = trained.progress()
    assert progress["env_steps"].tolist() == [256, 512, 768, 1024]
    assert {"mean_return", "mean_episode_length", "reward_terms/alive", "losses/policy"} <= progress.keys()


def test_train_ends_with_the_commands_that_come_next(work, capsys, tiny):
    assert run(["train", CARTPOLE, "--run-dir", "mine", *tiny]) == 0
    captured = capsys.readouterr()
    assert "motrix-train evaluate mine" in captured.out
    assert "motrix-train play mine --video" in captured.out
    assert "100%" in captured.err
    assert run(["evaluate", "mine", "--episodes=2", "--num-threads=1"]) == 0


def test_fields_of_the_task_reach_the_policy_file(work, tiny):
    assert run(["train", CARTPOLE, "--run-dir=mine", "--env=max_angle=0.15", *tiny]) == 0
    assert checkpoint.read("mine/checkpoints/last.safetensors").env_kwargs == {"max_angle": 0.15}


def test_fields_of_an_evaluation_join_those_of_the_training(work, tiny):
    given = ["--env=reward_weights.torques=0", "--env=push_speed=0.2", "--set=evaluation_episodes=1"]
    assert run(["train", "Motrix/Go1-v0", "--run-dir=mine", *given, *tiny]) == 0
    told = environment.parse_kwargs(["reward_weights.gait=2", "push_speed=0.4"])
    trained = TrainedPolicy.open("mine", env_fields=told)
    assert trained.env_kwargs == {"reward_weights": {"torques": 0, "gait": 2}, "push_speed": 0.4}


def test_a_random_seed_is_written_down(work, tiny):
    for name in ("a", "b"):
        assert run(["train", CARTPOLE, "--random-seed", "--run-dir", name, *tiny]) == 0
    assert RunDirectory(Path("a")).config()["seed"] != RunDirectory(Path("b")).config()["seed"]


def test_evaluate_prints_one_json_object_and_nothing_else(trained, capsys):
    assert run(["evaluate", str(trained.path), "--episodes=8", "--json", "--num-threads=1"]) == 0
    captured = capsys.readouterr()
    measured = json.loads(captured.out)
    assert captured.err == ""
    assert (measured["env_id"], measured["backend"], measured["episodes"]) == (CARTPOLE, "torch", 8)
    assert 0 < measured["env_steps"] <= 1024
    assert sum(measured["termination"].values()) + measured["truncation"] == pytest.approx(1.0)
    assert measured.keys() >= {"mean_return", "std_return", "mean_length", "metrics"}


def test_a_run_an_environment_and_a_policy_mean_the_same(trained, capsys, monkeypatch):
    monkeypatch.chdir(trained.path.parents[3])
    shown = []
    for target in (CARTPOLE, str(trained.path), str(trained.path / "checkpoints" / "best.safetensors")):
        assert run(["evaluate", target, "--episodes=4", "--json", "--num-threads=1"]) == 0
        shown.append(json.loads(capsys.readouterr().out))
        shown[-1]["policy"] = Path(shown[-1]["policy"]).name
    assert shown[0] == shown[1] == shown[2]


@pytest.mark.usefixtures("opengl")
@pytest.mark.parametrize("name", ["seen.mp4", "seen.png"])
def test_play_writes_what_is_seen(trained, work, name):
    assert run(["play", str(trained.path), "--video", name, "--num-envs=3", "--steps=12", "--num-threads=1"]) == 0
    assert [path.name for path in work.iterdir()] == [name]
    if name.endswith(".png"):
        assert imread(name).shape[:2] == (3 * 240, 6 * 320)
    else:
        assert b"ftyp" in Path(name).read_bytes()[:16]


@pytest.mark.usefixtures("opengl")
def test_play_shows_the_environment_that_it_is_told(trained, work):
    arguments = ["play", str(trained.path), "--steps=5", "--num-threads=1"]
    for name, fields in (("own", []), ("same", ["--env=start_range=0.01"]), ("other", ["--env=start_range=0.2"])):
        assert run([*arguments, f"--video={name}.png", *fields]) == 0
    own, same, other = (imread(f"{name}.png") for name in ("own", "same", "other"))
    assert (own == same).all()
    assert (own != other).any()


@pytest.mark.usefixtures("opengl")
@pytest.mark.parametrize(("control_dt", "rate"), [(0.01, "25 fps"), (0.04, "25 fps"), (4.0, "0.25 fps")])
def test_a_video_shows_real_time(trained, work, control_dt, rate):
    arguments = ["play", str(trained.path), f"--env=control_dt={control_dt}", "--steps=8", "--num-envs=1"]
    assert run([*arguments, "--video=seen.mp4"]) == 0
    said = subprocess.run([get_ffmpeg_exe(), "-i", "seen.mp4"], stderr=subprocess.PIPE, text=True).stderr
    assert rate in said


@pytest.mark.posix
def test_ctrl_c_ends_a_training_with_its_last_policy(work, tiny):
    arguments = ["train", CARTPOLE, "--run-dir=mine", *tiny, "--max-env-steps=100000000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "motrix_train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell job ignores Ctrl-C
    )
    try:
        patience = time.monotonic() + 300
        while not Path("mine/progress.csv").exists() and time.monotonic() < patience:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "Stopped early: mine" in out
    assert checkpoint.read("mine/checkpoints/last.safetensors").env_steps > 0


def test_without_the_extras_it_says_what_to_install(tmp_path):
    shutil.copytree(Path(motrix_train.__file__).parent, tmp_path / "motrix_train")
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.run(
        [sys.executable, "-S", "-m", "motrix_train", "list"], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    assert 'pip install "motrix-gym[torch]"' in process.stderr


def test_exit_codes_and_lines_are_those_of_a_process(tmp_path):
    (tmp_path / "file").touch()
    for arguments, code in (
        (["train", "Motrix/Go7-v0"], 2),
        (["train", CARTPOLE, "--backend=torch", "--run-dir=file/run"], 1),
    ):
        process = command(*arguments, cwd=tmp_path)
        assert process.returncode == code
        assert process.stderr.count("\n") == 1, process.stderr
        assert process.stdout == ""


def test_assignments_become_nested_keyword_arguments():
    parsed = environment.parse_kwargs(["a=1", "b.c=0.5", 'b.d="x"', "e=word", "f=[1, 2]", "g=null", "h=x=y"])
    assert parsed == {"a": 1, "b": {"c": 0.5, "d": "x"}, "e": "word", "f": [1, 2], "g": None, "h": "x=y"}


def test_evaluate_with_the_noise_of_training(trained, capsys):
    returns = []
    for options in ([], ["--stochastic"], ["--stochastic"]):
        assert run(["evaluate", str(trained.path), "--episodes=16", "--json", *options]) == 0
        measured = json.loads(capsys.readouterr().out)
        assert measured["stochastic"] == bool(options)
        returns.append(measured["mean_return"])
    assert returns[1] == returns[2] != returns[0]


@pytest.mark.posix
def test_evaluate_while_the_training_runs(work, tiny):
    often = ("--max-env-steps=10000000", "--set=check_point_interval=32", "--set=evaluation_interval=1", "--quiet")
    arguments = ["train", CARTPOLE, "--run-dir=live", *tiny, *often]
    training = subprocess.Popen([sys.executable, "-m", "motrix_train", *arguments], stdout=subprocess.DEVNULL)
    try:
        best = work / "live" / "checkpoints" / "best.safetensors"
        while not best.exists():
            assert training.poll() is None
            time.sleep(0.05)
        for _ in range(10):
            assert run(["evaluate", "live", "--episodes=2"]) == 0
        assert training.poll() is None
    finally:
        training.send_signal(signal.SIGTERM)
        assert training.wait(60) == 130
    assert run(["evaluate", "live", "--episodes=2"]) == 0
    assert RunDirectory.open(work / "live").checkpoint("last") is not None


def test_the_version_is_told(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"motrix-train {importlib.metadata.version('motrix-gym')}\n"


def test_the_shell_completes_ids(tmp_path):
    words = {
        "_MOTRIX_TRAIN_COMPLETE": "complete_bash",
        "COMP_WORDS": "motrix-train train Motrix/Cart",
        "COMP_CWORD": "2",
    }
    command = Path(sys.executable).with_name("motrix-train")
    shown = subprocess.run([command], env=os.environ | words, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == [CARTPOLE, "Motrix/CartPoleBalance-v0", "Motrix/CartPoleSwingup-v0"]


@pytest.mark.posix
def test_printed_commands_work_where_no_environment_is_activated(work, tiny):
    """They call the program by the path that it was called by, or by its name where that finds it."""
    command = Path(sys.executable).with_name("motrix-train")
    typed = [str(command), "train", CARTPOLE, "--run-dir=mine", "-q", *tiny]
    for path, called in (("/usr/bin:/bin", str(command)), (f"{command.parent}:/usr/bin:/bin", "motrix-train")):
        shown = subprocess.run(typed, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True)
        assert f"Measure it:  {called} evaluate mine\n" in shown.stdout
        shutil.rmtree("mine")


def test_a_directory_of_runs_stands_for_the_newest_of_them(trained, capsys):
    above = str(trained.path.parents[2])
    assert run(["evaluate", above, "--episodes=2", "--num-threads=1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policy"] == str(trained.best_policy())


def test_a_budget_that_is_rounded_is_told_before_the_training(work, capsys, tiny):
    assert run(["train", CARTPOLE, "--run-dir=mine", *tiny, "--max-env-steps=1100"]) == 0
    assert "1,100 env steps asked for, 1,024 trained" in capsys.readouterr().err


def test_show_names_empty_tables(capsys):
    assert run(["show", CARTPOLE, "--backend=torch"]) == 0
    assert re.search(r"training_env +\{\}", capsys.readouterr().out)
