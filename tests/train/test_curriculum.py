"""Curricula from end to end: what a plan may say, how stages follow each other, and that a kill changes nothing."""

import contextlib
import itertools
import json
import operator
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from motrix_train import presets
from motrix_train.cli import run
from motrix_train.config import PPOCfg
from motrix_train.curriculum import report as curriculum_report
from motrix_train.curriculum.condition import Condition
from motrix_train.curriculum.plan import Plan
from motrix_train.curriculum.run import Curriculum, Ending
from motrix_train.errors import UsageError
from motrix_train.storage import checkpoint

CLOCK = ("seconds", "per_second")  # columns of progress.csv that no two runs share

HEAD = """
backend = "torch"
seed = 3

[defaults]
env_id = "Motrix/CartPole-v0"
max_env_steps = 1024

[defaults.set]
num_envs = 8
rollouts = 32
check_point_interval = 128
evaluation_interval = 4
evaluation_episodes = 3
policy_hidden_layer_sizes = [8]
value_hidden_layer_sizes = [8]
"""
PLAN = f"""{HEAD}
[[stages]]
name = "steady"
env.max_angle = 0.3
max_env_steps = 4096
advance_when = ["episodes >= 20", "mean_return > 0"]

[[stages]]
name = "long"
max_env_steps = 6144

[[stages]]
name = "strict"
env.max_angle = 0.15
advance_when = "mean_return >= 1e6"
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Curriculum:
    """A curriculum that was never interrupted, to be read only."""
    return trained(PLAN, tmp_path_factory.mktemp("finished"))


def trained(plan: str, directory: Path) -> Curriculum:
    (directory / "plan.toml").write_text(plan)
    path = directory / "whole"
    assert run(["curriculum", str(directory / "plan.toml"), "--run-dir", str(path), "--num-threads=1", "-q"]) == 0
    return Curriculum.open(path, "")


def resumed(path: Path) -> Curriculum:
    assert run(["curriculum", "--resume", str(path), "-q"]) == 0
    return Curriculum.open(path, "")


def assert_same(first: Curriculum, second: Curriculum) -> None:
    """Every parameter of every policy, and every line of progress, bit for bit."""
    assert len(first.outcomes()) == len(second.outcomes()) == len(first.plan.stages)
    for one, other in zip(first.outcomes(), second.outcomes(), strict=True):
        assert policies(one.run.checkpoints) == policies(other.run.checkpoints)
        assert one.progress.keys() == other.progress.keys()
        for column in one.progress:
            if not any(word in column for word in CLOCK):
                np.testing.assert_array_equal(one.progress[column], other.progress[column], column)


def policies(directory: Path) -> dict[str, dict[str, bytes]]:
    return {path.name: state(path) for path in sorted(directory.iterdir())}


def state(path: Path) -> dict[str, bytes]:
    return {name: np.asarray(array).tobytes() for name, array in checkpoint.leaves(checkpoint.read(path).state)}


def test_a_stage_ends_where_its_conditions_first_hold(finished: Curriculum):
    steady = finished.outcomes()[0]
    held = (steady.progress["episodes"] >= 20) & (steady.progress["mean_return"] > 0)
    assert held.tolist() == [False] * (len(held) - 1) + [True]
    assert steady.ending is Ending.PASSED
    assert steady.env_steps < 4096


def test_a_stage_without_a_condition_or_that_misses_it_uses_its_budget(finished: Curriculum):
    assert [outcome.ending for outcome in finished.outcomes()[1:]] == [Ending.SPENT, Ending.SPENT]
    assert [outcome.env_steps for outcome in finished.outcomes()[1:]] == [6144, 1024]


def test_each_stage_starts_from_the_best_policy_of_the_one_before(finished: Curriculum):
    runs = [outcome.run for outcome in finished.outcomes()]
    assert runs[0].checkpoint("origin") is None
    for before, after in itertools.pairwise(runs):
        origin, best = after.checkpoint("origin"), before.checkpoint("best")
        assert origin is not None
        assert best is not None
        assert state(origin) == state(best)
        assert after.config()["origin"] == {
            "env_id": "Motrix/CartPole-v0",
            "env_steps": checkpoint.read(best).env_steps,
            "partial": False,
            "normaliser": True,
        }


def test_the_last_policy_of_a_stage_is_evaluated_wherever_it_ends(finished: Curriculum):
    for outcome in finished.outcomes():
        assert np.isfinite(outcome.progress["evaluation/mean_return"][-1])


def test_a_resumed_training_knows_the_evaluations_but_for_the_one_at_its_end(finished: Curriculum):
    interval = 4 * 32 * 8  # env steps
    for outcome in finished.outcomes():
        last = outcome.run.checkpoint("last")
        best = outcome.run.checkpoint("best_before_end") or outcome.run.checkpoint("best")
        assert last is not None
        assert best is not None
        chosen = checkpoint.read(last.with_stem("resume")).resume_state["ranking"]["chosen"].tolist()
        env_steps = checkpoint.read(best).env_steps
        measured = outcome.progress["evaluation/mean_return"][outcome.progress["env_steps"] == env_steps].tolist()
        assert chosen == ([] if env_steps % interval else measured)


def test_every_stage_has_seeds_of_its_own(finished: Curriculum):
    assert [outcome.run.config()["seed"] for outcome in finished.outcomes()] == [3, 4, 5]


def test_the_report_tells_of_every_stage(finished: Curriculum):
    text = (finished.path / "report.md").read_text()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert [row[0] for row in cells[2:]] == ["steady", "long", "strict"]
    assert [row[4] for row in cells[2:]] == ["condition met", "budget used", "budget used"]
    assert [row[5] for row in cells[2:]] == ["episodes >= 20 and mean_return > 0", "-", "mean_return >= 1000000"]
    assert [row[6] for row in cells[2:]] == [
        f"{outcome.evaluation['mean_return']:.4g} ± {outcome.evaluation['standard_error']:.2g}"
        for outcome in finished.outcomes()
    ]
    assert imread(finished.path / "report.png").ndim == 3


def test_the_curves_of_the_stages_follow_each_other(finished: Curriculum):
    outcomes = finished.outcomes()
    lone = [replace(outcome, progress=outcome.progress | {f"metrics/{k}": outcome.progress["mean_return"]})
            for k, outcome in enumerate(outcomes)]  # fmt: skip
    whole = curriculum_report.joined_progress(lone)
    assert (np.diff(whole["env_steps"]) == 256).all()
    assert whole["env_steps"][-1] == sum(outcome.env_steps for outcome in outcomes)
    np.testing.assert_array_equal(
        whole["mean_return"], np.concatenate([outcome.progress["mean_return"] for outcome in outcomes])
    )
    lines = len(outcomes[0].progress["env_steps"])
    assert np.isfinite(whole["metrics/0"][1:lines]).all()
    assert np.isnan(whole["metrics/0"][lines:]).all()


@pytest.mark.posix
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"], ids=["killed", "Ctrl-C"])
def test_a_curriculum_goes_on_bit_for_bit(name: str, finished: Curriculum, tmp_path: Path):
    number = signal.Signals[name]
    (tmp_path / "plan.toml").write_text(PLAN)
    process = subprocess.Popen(
        [sys.executable, "-m", "motrix_train", "curriculum", "plan.toml", "--run-dir=whole", "--num-threads=1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell job ignores Ctrl-C
    )
    try:
        patience = time.monotonic() + 300
        second = tmp_path / "whole" / "02_long" / "checkpoints" / "last.safetensors"
        while not second.exists() and process.poll() is None and time.monotonic() < patience:
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    stopped = Curriculum.open(tmp_path / "whole", "")
    assert [outcome.ending for outcome in stopped.outcomes()] == [Ending.PASSED, Ending.OPEN], err
    if number is signal.SIGINT:
        assert process.returncode == 130
        assert "Traceback" not in err
        assert f"{sys.executable} -m motrix_train curriculum --resume whole" in out
    assert_same(resumed(stopped.path), finished)


@pytest.mark.parametrize("left", [(), ("config.json",), ("config.json", "progress.csv")], ids=" ".join)
def test_a_kill_between_two_stages_or_before_a_checkpoint_loses_nothing(
    left: tuple[str, ...], finished: Curriculum, tmp_path: Path
):
    copied = Path(shutil.copytree(finished.path, tmp_path / "whole"))
    third = copied / "03_strict"
    for path in [third] if not left else third.iterdir():
        if path.name not in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = (copied / "02_long" / "progress.csv").read_bytes()
    assert_same(resumed(copied), finished)
    assert (copied / "02_long" / "progress.csv").read_bytes() == before


def test_an_ended_curriculum_is_not_trained_again(finished: Curriculum, tmp_path: Path, capsys):
    copied = Path(shutil.copytree(finished.path, tmp_path / "whole"))
    (copied / "report.md").unlink()
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file() and path.suffix != ".png"}
    resumed(copied)
    assert {path: path.read_bytes() for path in before} == before
    assert (copied / "report.md").read_text() == (finished.path / "report.md").read_text()
    assert "motrix-train evaluate" in capsys.readouterr().out


def test_a_missed_condition_may_stop_the_curriculum(work: Path, capsys):
    stages = """
        [[stages]]
        name = "first"
        advance_when = "env_steps >= 1536"
        otherwise = "stop"

        [[stages]]
        name = "second"
    """
    (work / "plan.toml").write_text(HEAD + stages)
    assert run(["curriculum", "plan.toml", "--run-dir=whole", "--num-threads=1", "-q"]) == 1
    captured = capsys.readouterr()
    assert "stage 'first' used its 1,024 env steps and never met env_steps >= 1536" in captured.err
    assert captured.err.count("\n") == 1
    assert "| first " in captured.out
    assert not (work / "whole" / "02_second").exists()
    assert run(["curriculum", "--resume=whole", "-q"]) == 1
    assert run(["train", "--resume=whole/01_first", "--max-env-steps=2048", "-q"]) == 0
    assert [outcome.ending for outcome in resumed(work / "whole").outcomes()] == [Ending.PASSED, Ending.SPENT]


def test_two_processes_do_not_train_one_curriculum(finished: Curriculum, capsys):
    with finished.run(0).exclusive(), contextlib.ExitStack() as stack:
        stack.enter_context(replace(finished.run(0), path=finished.path).exclusive())
        assert run(["curriculum", "--resume", str(finished.path), "-q"]) == 2
    assert "another process is training" in capsys.readouterr().err


def stage(text: str, name: str = "one") -> str:
    return f'{HEAD}\n[[stages]]\nname = "{name}"\n{text}\n'


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("", "it has no stage: write each as a table [[stages]]"),
        ("stages = 3", "stages is 3; it takes tables, written [[stages]]"),
        ("[stages]\nname = 'a'", "it takes tables, written [[stages]]"),
        ("stages = [3]", "stages takes tables, written [[stages]]"),
        ("stages = [", "it is no TOML:"),
        ("bakend = 'jax'", "unknown key 'bakend'; did you mean 'backend'?"),
        ("backend = 'tensorflow'\n[[stages]]\nname = 'a'", "unknown backend 'tensorflow'"),
        ("seed = -1", "seed is -1; it takes a whole number from 0"),
        ("seed = 1.5", "seed is 1.5; it takes a whole number from 0"),
        ("begins_with = 3", "begins_with is 3; it takes the path of another plan"),
        ("begins_with = 'none.toml'", "plan.toml: there is no plan none.toml: give a TOML file"),
        ('begins_with = "a\\u0000b"', "there is no plan a"),
        ("begins_with = '.'", ". is a directory: give a TOML file"),
        ("begins_with = './plan.toml'", "plan.toml: plan.toml: it begins with itself: take begins_with out"),
        ("[defaults]\nname = 'a'\n[[stages]]", "defaults: unknown key 'name'"),
        ("[[stages]]\nenv_id = 'Motrix/CartPole-v0'", "stage 1: name is missing"),
        ("[[stages]]\nname = 'a'", "stage 'a': env_id is missing"),
        (stage("", name="a/b"), "stage 'a/b': name 'a/b' cannot name a directory"),
        (stage("") + '[[stages]]\nname = "One"', "stage 'One': there is another stage of this name"),
        (stage("env_di = 'a'"), "stage 'one': unknown key 'env_di'; did you mean 'env_id'?"),
        (stage("env_id = 'Motrix/CartPoll-v0'"), "stage 'one': no environment 'Motrix/CartPoll-v0': did you mean"),
        (stage("env.max_angel = 0.1"), "did you mean 'max_angle'?"),
        (stage("env.max_angle = 'steep'"), "max_angle is 'steep'; it takes a finite number"),
        (stage("env.num_envs = 4"), "stage 'one': env.num_envs: num_envs is not a field of the task"),
        (stage("env.max_angle = 2020-01-01"), "env.max_angle is 2020-01-01; it takes numbers"),
        (stage("set.rolouts = 3"), "stage 'one': unknown setting 'rolouts'; did you mean 'rollouts'?"),
        (stage("set.rollouts = 'many'"), "stage 'one': rollouts=many cannot be read: give a whole number"),
        (stage("set.mini_batches = 7"), "mini_batches 7"),
        (stage("set.seed = 1"), "set.seed: give the plan's own seed"),
        (stage("set.max_env_steps = 1"), "set.max_env_steps: give the stage's own max_env_steps"),
        (stage("max_env_steps = 0"), "stage 'one': max_env_steps is 0; it takes a whole number from 1"),
        (stage("max_env_steps = 0.5"), "max_env_steps is 0.5; it takes a whole number from 1"),
        (stage("max_env_steps = true"), "max_env_steps is True; it takes a whole number from 1"),
        (stage("otherwise = 'halt'"), "stage 'one': otherwise is 'halt'; it takes \"go_on\" or \"stop\""),
        (stage("partial = 1"), "partial is 1; it takes true or false"),
        (stage("advance_when = 'mean_return'"), "advance_when: 'mean_return' is no condition: write a name"),
        (stage("advance_when = [3]"), "advance_when holds 3; it takes a condition"),
        (stage("advance_when = 'mean_retrun > 3'"), "names mean_retrun, which is not known here; did you mean 'mean_"),
        (stage("advance_when = 'seconds > 3'"), "names seconds, which is not known here"),
        (stage("advance_when = 'metrics/height > 3'"), "names metrics/height, which is not known here"),
        (
            stage("advance_when = 'evaluation/mean_return > 3'\nset.evaluation_interval = 0"),
            "names evaluation/mean_return, which is not known here",
        ),
        (stage("set.mirror = 'policy'\nenv_id = 'CartPole-v1'"), "stage 'one': CartPole-v1"),
        (
            stage("") + '[[stages]]\nname = "two"\nset.policy_hidden_layer_sizes = [16]',
            "stage 'two': policy/",
        ),
        (
            stage("") + '[[stages]]\nname = "two"\nenv_id = "Motrix/Go1-v0"\nset.value_hidden_layer_sizes = [8]',
            "or --partial for what fits (in a plan: partial = true)",
        ),
    ],
)
def test_a_mistake_in_a_plan_is_one_line_before_anything_is_trained(plan: str, said: str, work: Path, capsys):
    (work / "plan.toml").write_text(plan)
    assert run(["curriculum", "plan.toml"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("motrix-train: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert [path.name for path in work.iterdir()] == ["plan.toml"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a plan, as in motrix-train curriculum plan.toml"),
        (["none.toml"], "there is no plan none.toml"),
        (["--resume=none"], "none is no curriculum"),
        (["plan.toml", "--resume=none"], "plan.toml does not go with --resume"),
        (["plan.toml", "--run-dir=."], "curriculum directory . exists"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(arguments: list[str], said: str, work: Path, capsys):
    (work / "plan.toml").write_text(stage(""))
    assert run(["curriculum", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in work.iterdir()] == ["plan.toml"]


def test_many_workers_are_refused(work: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    (work / "plan.toml").write_text(stage(""))
    launched = {"WORLD_SIZE": 2, "RANK": 0, "LOCAL_RANK": 0, "MASTER_ADDR": "localhost", "MASTER_PORT": 29500}
    for name, value in launched.items():
        monkeypatch.setenv(name, str(value))
    assert run(["curriculum", "plan.toml"]) == 2
    assert "a curriculum is trained by one process, not by 2" in capsys.readouterr().err


def test_a_damaged_record_is_one_line(tmp_path: Path, capsys):
    (tmp_path / "curriculum.json").write_text('{"plan": {}}')
    assert run(["curriculum", "--resume", str(tmp_path)]) == 1
    assert "is damaged or of another version" in capsys.readouterr().err


def test_other_layers_are_taken_as_far_as_they_fit_if_asked(work: Path):
    (work / "plan.toml").write_text(
        stage("") + '[[stages]]\nname = "two"\npartial = true\nset.value_hidden_layer_sizes = [16]'
    )
    Plan.read(work / "plan.toml").check()


def test_stages_differ_from_the_defaults_and_from_the_preset(work: Path):
    plan = """
        [defaults]
        env_id = "Motrix/Go1-v0"
        env = { still_probability = 0.2, reward_weights = { torques = 0 } }
        set = { rollouts = 16, learning_rate = 5e-4 }
        advance_when = "mean_return >= 3"

        [[stages]]
        name = "one"
        max_env_steps = 2e6
        env = { reward_weights = { gait = 1 } }
        set = { rollouts = 8, clip_predicted_values = false, training_env = { reward_weights = { termination = -50 } } }

        [[stages]]
        name = "two"
        advance_when = []
    """
    (work / "plan.toml").write_text('backend = "torch"\n' + plan)
    one, two = Plan.read(work / "plan.toml").stages
    assert one.env_kwargs == {"still_probability": 0.2, "reward_weights": {"torques": 0, "gait": 1}}
    assert two.env_kwargs == {"still_probability": 0.2, "reward_weights": {"torques": 0}}
    assert (one.cfg.rollouts, one.cfg.learning_rate, one.cfg.mirror) == (8, 5e-4, "policy")
    assert (one.cfg.max_env_steps, one.cfg.clip_predicted_values) == (2_000_000, False)
    assert one.cfg.training_env == {"reward_weights": {"termination": -50}}
    assert (two.cfg.rollouts, one.cfg.seed, two.cfg.seed) == (16, PPOCfg().seed, 43)
    assert (one.condition, two.condition) == ("mean_return >= 3", "")


def test_a_plan_begins_with_the_stages_of_another(work: Path):
    (work / "parts").mkdir()
    (work / "parts" / "first.toml").write_text(stage("") + stage("", name="two").removeprefix(HEAD))
    (work / "parts" / "second.toml").write_text(
        "begins_with = 'first.toml'\n" + stage("", name="three").replace("seed = 3", "")
    )
    (work / "third.toml").write_text(
        "begins_with = 'parts/second.toml'\nseed = 20\n"
        "[[stages]]\nname = 'four'\nenv_id = 'Motrix/CartPole-v0'\nset.policy_hidden_layer_sizes = [8]"
    )
    first, second = (Plan.read(work / "parts" / name) for name in ("first.toml", "second.toml"))
    third = Plan.read(work / "third.toml")
    assert second.stages[:2] == first.stages
    assert [(one.name, one.cfg.seed) for one in second.stages] == [("one", 3), ("two", 4), ("three", 5)]
    assert [(one.name, one.cfg.seed) for one in third.stages] == [("one", 20), ("two", 21), ("three", 22), ("four", 23)]
    assert (third.name, third.backend) == ("third", "torch")
    budgets = [1024] * 3 + [presets.configured("Motrix/CartPole-v0", "torch", {}).max_env_steps]
    assert [one.cfg.max_env_steps for one in third.stages] == budgets, "its defaults are for its own stages alone"


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (
            "backend = 'jax'\n[[stages]]\nname = 'two'",
            "plan.toml: backend is jax, but first has torch: leave backend out",
        ),
        ("[[stages]]\nname = 'one'\nenv_id = 'Motrix/CartPole-v0'", "stage 'one': there is another stage of this name"),
        ("", "plan.toml: it has no stage"),
    ],
)
def test_plans_that_do_not_go_together_are_one_line(second: str, said: str, work: Path, capsys):
    (work / "first.toml").write_text(stage(""))
    (work / "plan.toml").write_text(f"begins_with = 'first.toml'\n{second}")
    assert run(["curriculum", "plan.toml"]) == 2
    said_so = capsys.readouterr().err
    assert said in said_so
    assert said_so.count("\n") == 1


def test_a_plan_is_read_as_it_was_recorded(finished: Curriculum):
    plan = finished.plan
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "examples").glob("*.toml")), ids=lambda p: p.stem)
def test_the_examples_can_be_trained(path: Path):
    plan = Plan.read(path)
    plan.check()
    assert len(plan.stages) >= 2


def test_help_teaches_with_an_example(capsys):
    assert run(["curriculum", "--help"]) == 0
    assert "Example: motrix-train curriculum" in capsys.readouterr().out


names = st.from_regex(r"[a-z_]+(/[a-z_]+)?", fullmatch=True)
numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(names, st.sampled_from([">=", ">", "<=", "<"]), numbers)
def test_a_condition_is_read_as_it_is_written(quantity: str, comparison: str, number: float):
    condition = Condition(quantity, comparison, number)
    assert Condition.parse(str(condition)) == condition
    assert Condition.parse(f" {quantity}{comparison}{number!r} ") == condition


@given(st.floats(), numbers)
def test_a_condition_compares(value: float, number: float):
    for comparison, compare in ((">=", operator.ge), (">", operator.gt), ("<=", operator.le), ("<", operator.lt)):
        assert Condition("x", comparison, number).holds({"x": value}) == compare(value, number)


def test_what_is_unknown_meets_no_condition():
    for comparison in (">=", ">", "<=", "<"):
        assert not Condition("x", comparison, 0.0).holds({})
        assert not Condition("x", comparison, 0.0).holds({"x": float("nan")})


@pytest.mark.parametrize(
    "text", ["", "x", "x >", "> 3", "x = 3", "x == 3", "x => 3", "x > y", "x > nan", "x > inf", "x > 1 2", "1 < x < 2"]
)
def test_anything_else_is_no_condition(text: str):
    with pytest.raises(UsageError, match="is no condition: write a name"):
        Condition.parse(text)
