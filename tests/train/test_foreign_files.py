"""Files that somebody else may have written: none runs code, no size is believed, nothing outside a run is touched."""

import json
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forgery import assign, declared, evil_module, forge, rewrite, write_header

from motrix_train.cli import run
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.request import TrainRequest

SHORT = ("--env=max_episode_steps=8", "--num-threads=1", "--quiet")
TRAIN = (
    *("train", "Motrix/CartPole-v0", "--seed=3", "--num-envs=4", "--max-env-steps=128", *SHORT),
    *("--set=rollouts=8", "--set=check_point_interval=16", "--set=evaluation_episodes=2"),
    *("--set=policy_hidden_layer_sizes=8", "--set=value_hidden_layer_sizes=8"),
)
PLAN = """
backend = "torch"
[defaults]
env_id = "Motrix/CartPole-v0"
max_env_steps = 64
env = { max_episode_steps = 8 }
set = { num_envs = 4, rollouts = 8, check_point_interval = 8, evaluation_episodes = 2 }
[[stages]]
name = "one"
[[stages]]
name = "two"
"""


both = pytest.mark.parametrize("backend", ["torch", "jax"], scope="module")
"""For what depends on how a backend writes its checkpoints; the other files of a run are alike."""


@pytest.fixture(scope="module")
def backend() -> str:
    """Of the run that is spoilt."""
    return "torch"


@pytest.fixture(scope="module")
def good(backend: str, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run, to be copied."""
    pytest.importorskip(backend)
    path = tmp_path_factory.mktemp("good") / "run"
    assert run([*TRAIN, f"--backend={backend}", f"--run-dir={path}"]) == 0
    return RunDirectory(path)


@pytest.fixture
def copied(good: RunDirectory, work: Path) -> RunDirectory:
    """A copy of it that may be spoilt, in the working directory."""
    return RunDirectory(Path(shutil.copytree(good.path, work / "run")))


@pytest.fixture
def curriculum(tmp_path_factory: pytest.TempPathFactory, work: Path) -> Path:
    """A finished curriculum that may be spoilt."""
    (work / "plan.toml").write_text(PLAN)
    assert run(["curriculum", "plan.toml", "--run-dir=whole", "--num-threads=1", "-q"]) == 0
    return work / "whole"


def contents(directory: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(directory.rglob("*"))}


class Refusal:
    """Runs commands that must be refused, and keeps their lines."""

    def __init__(self, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._work, self._capsys = work, capsys

    def __call__(self, *arguments: object) -> str:
        before = contents(self._work)
        self._capsys.readouterr()
        assert run([str(argument) for argument in arguments]) in (1, 2)
        said = self._capsys.readouterr().err
        assert said.startswith("motrix-train: ")
        assert said.count("\n") == 1
        assert len(said) < 1000
        assert contents(self._work) == before
        return said


@pytest.fixture
def refused(work: Path, capsys: pytest.CaptureFixture[str]) -> Refusal:
    return Refusal(work, capsys)


def evil_fields(evil: str) -> dict[str, tuple[str, Any]]:
    """Ways in which a file could name a module: what of it is set to what."""
    member = {"id": "Motrix/CartPole-v0", "kwargs": {"task": f"{evil}:X"}}
    return {
        "id": ("env_id", f"{evil}:Motrix/CartPole-v0"),
        "task": ("env_kwargs", {"task": f"{evil}:X"}),
        "task in training": ("config.training_env", {"task": f"{evil}:X"}),
        "id of a member": ("env_kwargs", {"tasks": [{"id": f"{evil}:Motrix/CartPole-v0"}]}),
        "task of a member": ("env_kwargs", {"tasks": [member]}),
    }


@pytest.mark.parametrize("kind", evil_fields(""))
def test_no_file_has_a_module_imported(kind: str, copied: RunDirectory, refused: Refusal, monkeypatch, work: Path):
    monkeypatch.syspath_prepend(work)
    monkeypatch.delitem(sys.modules, "evil_mod", raising=False)
    mark = evil_module(work)
    place, value = evil_fields("evil_mod")[kind]

    def edit(tree: dict[str, Any]) -> None:
        assign(tree, place, value)
        if "member" in kind:
            tree["env_id"] = "Motrix/MultiTask-v0"

    last = copied.checkpoint("last")
    assert last is not None
    for path in (last, copied.resume_path):
        forge(path, edit)
    if place != "config.training_env":  # which no longer counts once a policy is trained
        refused("evaluate", last, "--episodes=1")
        refused("play", last, "--video=play.png")
        refused("export", last, "--onnx")
    refused("train", "--resume", copied.path, "--max-env-steps=1024")
    rewrite(copied.config_path, edit)
    refused("train", "--resume", copied.path, "--max-env-steps=1024")
    last.unlink()
    copied.resume_path.unlink()
    refused("train", "--resume", copied.path, "--max-env-steps=1024")
    assert not mark.exists()
    assert "evil_mod" not in sys.modules


def test_a_plan_has_no_module_imported(work: Path, refused: Refusal, monkeypatch):
    monkeypatch.syspath_prepend(work)
    monkeypatch.delitem(sys.modules, "evil_mod", raising=False)
    mark = evil_module(work)
    (work / "plan.toml").write_text(PLAN.replace("Motrix/CartPole-v0", "evil_mod:Motrix/CartPole-v0"))
    assert "--import evil_mod" in refused("curriculum", "plan.toml")
    assert not mark.exists()


def test_a_foreign_environment_is_imported_when_the_user_says_so(copied: RunDirectory, refused, work, monkeypatch):
    monkeypatch.syspath_prepend(work)
    (work / "my_robots.py").write_text(
        "import gymnasium\n"
        "known = gymnasium.registry['Motrix/CartPole-v0']\n"
        "gymnasium.register('Mine/Cart-v0', entry_point=known.entry_point, kwargs=known.kwargs,\n"
        "    vector_entry_point=known.vector_entry_point, max_episode_steps=known.max_episode_steps)\n"
    )
    last = copied.checkpoint("last")
    assert last is not None
    forge(last, lambda header: header.update(env_id="my_robots:Mine/Cart-v0"))
    assert "if you trust it, add --import my_robots" in refused("evaluate", last, "--episodes=1")
    assert run(["evaluate", str(last), "--episodes=1", "--num-threads=1", "--import=my_robots"]) == 0
    sys.modules.pop("my_robots")


def test_an_error_in_the_users_own_module_is_shown(refused: Refusal, work: Path, monkeypatch):
    monkeypatch.syspath_prepend(work)
    (work / "broken_robots.py").write_text("\nimport nothere\n")
    said = refused("show", "broken_robots:Mine/Cart-v0")
    assert "No module named 'nothere'" in said
    assert "broken_robots.py, line 2" in said
    assert "there is no module 'nowhere'" in refused("show", "nowhere:Mine/Cart-v0")


def layers(*sizes: int) -> Callable[[dict[str, Any]], None]:
    return lambda header: assign(header, "config.policy_hidden_layer_sizes", list(sizes))


BOMBS: dict[str, Callable[[Path], None]] = {
    "layers of 20000": lambda path: forge(path, layers(20000, 20000)),
    "layers of 4096": lambda path: forge(path, layers(*[4096] * 16)),
    "a layer of 1e9": lambda path: forge(path, layers(10**9)),
    "200 000 layers": lambda path: forge(path, layers(*[1] * 200_000)),
    "value layers": lambda path: forge(path, lambda h: assign(h, "config.value_hidden_layer_sizes", [4096] * 16)),
    "brackets": lambda path: forge(path, "[" * 100_000 + "]" * 100_000),
    "deep fields": lambda path: forge(path, lambda h: assign(h, "env_kwargs", json.loads("[" * 500 + "]" * 500))),
    "digits": lambda path: forge(path, lambda header: assign(header, "seed", 10**400)),
    "digits of a rate": lambda path: forge(path, lambda header: assign(header, "config.learning_rate", 10**400)),
    "many digits": lambda path: forge(path, '{"seed": ' + "9" * 10_000 + "}"),
    "observations": lambda path: forge(path, lambda header: assign(header, "observation_shape", [10**9])),
    "an action": lambda path: forge(path, lambda header: assign(header, "action_shape", [10**9])),
    "an array of 4 GB": lambda path: write_header(path, declared([2**30], 2**32)),
    "an array without end": lambda path: write_header(path, declared([2**62, 2**62], 8), bytes(8)),
    "a header of 2**63 bytes": lambda path: path.write_bytes(bytes([0] * 7 + [128]) + b"{}"),
    "a header of 50 MB": lambda path: write_header(path, b'{"x": "' + b"y" * 50_000_000 + b'"}'),
    "brackets in the header": lambda path: write_header(path, b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
}
MEASURE = """
    import importlib, resource, sys, time
    from motrix_train.cli import run
    importlib.import_module(f"motrix_train.learning.{sys.argv[1]}.backend")
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MB
    for path in sys.argv[2:]:
        before, start = peak(), time.process_time()
        code = run(["evaluate", path, "--episodes=1"])
        print(path, code, peak() - before, time.process_time() - start, sep="\t")
"""


@pytest.mark.posix
@both
def test_no_size_is_believed(good: RunDirectory, work: Path):
    last = good.checkpoint("last")
    assert last is not None
    backend = checkpoint.read(last).backend
    for name, build in BOMBS.items():
        path = work / f"{name}{last.suffix}"
        shutil.copy(last, path)
        build(path)
    script = [sys.executable, "-c", textwrap.dedent(MEASURE), backend]
    ended = subprocess.run(
        [*script, *(f"{name}{last.suffix}" for name in BOMBS)], cwd=work, capture_output=True, text=True, check=True
    )
    assert ended.stderr.count("\n") == ended.stderr.count("motrix-train: ") == len(BOMBS)
    for line in ended.stdout.splitlines():
        name, code, megabytes, seconds = line.split("\t")
        assert code in ("1", "2"), name
        assert float(megabytes) < 300, name
        assert float(seconds) < 5, name


STRANGE: tuple[Any, ...] = (None, [], {}, "x", -1, 1.5, True, 1e30, 10**30, [1], {"a": 1})
FIELDS = (
    *("env_id", "env_kwargs", "backend", "seed", "num_envs", "num_threads", "workers", "device", "origin", "config"),
    *("versions", "command", "created", "resumed", "wandb", "video_every", "config.seed", "config.rollouts"),
    *("config.learning_rate", "config.policy_hidden_layer_sizes", "config.training_env", "config.mirror"),
)


@pytest.mark.parametrize("field", FIELDS)
def test_a_strange_field_of_a_configuration_is_one_line_or_nothing(field: str, good: RunDirectory, work: Path, capsys):
    """It is refused when the run goes on; other commands that read it are refused too, or do not care."""
    run_copy = RunDirectory(Path(shutil.copytree(good.path, work / "run")))
    whole = run_copy.config_path.read_text()
    for value in STRANGE:
        run_copy.config_path.write_text(whole)
        rewrite(run_copy.config_path, lambda tree, value=value: assign(tree, field, value))
        changed = contents(work)
        for command in (
            ["train", "--resume", "run", "--max-env-steps=1024", "--device=nonsense", "-q"],
            ["plot", "run", "--out", str(work.parent / "plot.png")],
        ):
            code = run(command)
            said = capsys.readouterr().err
            assert code in (0, 1, 2), (field, value)
            assert said.count("\n") == (code > 0), said
            if command[0] == "train" and "nonsense" not in said:
                assert field.split(".")[-1] in said, said
            assert contents(work) == changed


@pytest.mark.parametrize("data", [b"\xff\xfe{}", b"[]", b"", b"{", b'{"a": ' + b"[" * 50_000, b'{"a": 1' + b"0" * 500])
def test_a_configuration_that_is_no_json_is_one_line(data: bytes, copied: RunDirectory, refused: Refusal):
    copied.config_path.write_bytes(data)
    for command in ("train", "--resume", copied.path), ("evaluate", copied.path), ("plot", copied.path):
        assert "config.json is damaged" in refused(*command)


@pytest.mark.parametrize(
    "spoil",
    {
        "not UTF-8": lambda data: data + b"\xff,1\n",
        "a long field": lambda data: data + b"9" * 2**20 + b"," * (data.split(b"\n")[0].count(b",")) + b"\n",
        "more columns": lambda data: data + b"1," * 200 + b"\n",
        "fewer columns": lambda data: data + b"1,2\n",
        "words": lambda data: data.replace(b"64", b"many", 1),
        "a NUL": lambda data: data + b"\0\n",
        "a column twice": lambda data: data.replace(b"total_env_steps", b"env_steps", 1),
        "a quote": lambda data: data + b'"\n',
    }.items(),
    ids=lambda item: item[0],
)
def test_a_strange_table_of_progress_is_one_line(spoil: Any, copied: RunDirectory, refused: Refusal):
    copied.progress_path.write_bytes(spoil[1](copied.progress_path.read_bytes()))
    assert "progress.csv is damaged" in refused("plot", copied.path)
    assert "progress.csv is damaged" in refused("train", "--resume", copied.path, "--max-env-steps=1024")


def drop(part: str) -> Callable[[dict[str, Any]], None]:
    def edit(arrays: dict[str, Any]) -> None:
        for name in [name for name in arrays if name.startswith(part)]:
            del arrays[name]

    return edit


def flatten(part: str) -> Callable[[dict[str, Any]], None]:
    def edit(arrays: dict[str, Any]) -> None:
        drop(part)(arrays)
        arrays[part] = np.zeros(3)

    return edit


def shrink(part: str) -> Callable[[dict[str, Any]], None]:
    def edit(arrays: dict[str, Any]) -> None:
        for name in [name for name in arrays if name.startswith(part)]:
            arrays[name] = np.zeros(1, arrays[name].dtype)

    return edit


@both
@pytest.mark.parametrize("edit", [drop, flatten, shrink])
@pytest.mark.parametrize("part", ["policy", "value", "observation_normalizer", "session", "session/workers/0/random"])
def test_a_state_that_lacks_a_part_is_one_line(edit: Any, part: str, copied: RunDirectory, refused: Refusal):
    last = copied.checkpoint("last")
    assert last is not None
    for path in (last, copied.resume_path):
        forge(path, dict, edit(part))
    refused("train", "--resume", copied.path, "--max-env-steps=1024")
    if not part.startswith("session"):
        refused("evaluate", last, "--episodes=1")


def test_a_configuration_of_another_number_of_environments_is_one_line(copied: RunDirectory, refused: Refusal):
    rewrite(copied.config_path, lambda tree: (assign(tree, "num_envs", 8), assign(tree, "config.num_envs", 8)))
    said = refused("train", "--resume", copied.path, "--max-env-steps=1024")
    assert "says num_envs 8" in said
    assert "was trained with 4" in said


def test_names_in_a_curriculum_are_no_paths(curriculum: Path, refused: Refusal, work: Path):
    victim = work / "victim"
    victim.mkdir()
    (victim / "thesis.txt").write_text("years of work")
    (curriculum / "01_").mkdir()
    rewrite(curriculum / "curriculum.json", lambda tree: assign(tree, "plan.stages.0.name", "/../../victim"))
    assert "cannot name a directory" in refused("curriculum", "--resume", curriculum)


@pytest.mark.parametrize(
    "field", ["plan", "plan.stages", "plan.stages.0.cfg", "plan.stages.0.advance_when", "versions"]
)
def test_a_strange_field_of_a_curriculum_is_one_line(field: str, curriculum: Path, refused: Refusal):
    record = curriculum / "curriculum.json"
    whole = record.read_text()
    for value in STRANGE:
        record.write_text(whole)
        rewrite(record, lambda tree, value=value: assign(tree, field, value))
        if (value, field) not in (([], "plan.stages.0.advance_when"), ({}, "plan.stages.0.cfg"), ({}, "versions")):
            assert "curriculum.json is damaged" in refused("curriculum", "--resume", curriculum)


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, f"seed = {'9' * 400}", f"seed = {'9' * 9999}", "\0"])
def test_a_plan_of_strange_sizes_is_one_line(text: str, work: Path, refused: Refusal):
    (work / "plan.toml").write_text(text)
    assert "plan.toml" in refused("curriculum", "plan.toml")


def test_a_refused_command_changes_nothing_of_a_run(copied: RunDirectory, refused: Refusal):
    (copied.path / "notes.txt").write_text("mine")
    refused("train", "--resume", copied.path, "--max-env-steps=1024", "--device=nonsense")
    for path in copied.checkpoints.iterdir():
        path.unlink()
    refused("train", "--resume", copied.path, "--max-env-steps=1024", "--device=nonsense")
    copied.progress_path.unlink()
    refused("train", "--resume", copied.path, "--max-env-steps=1024", "--device=nonsense")


def test_what_is_refused_while_another_process_trains_changes_nothing(copied: RunDirectory, refused: Refusal):
    with copied.exclusive():
        said = refused("train", "--resume", copied.path, "--max-env-steps=1e9", "--device=nonsense")
    assert "another process is training" in said
    assert run(["train", "--resume", str(copied.path), "--max-env-steps=256", "--quiet"]) == 0


def test_a_new_run_that_is_refused_leaves_a_users_file_alone(work: Path, monkeypatch):
    """A file that appears in its directory meanwhile stays, and the directory around it."""
    job = TrainRequest.from_run(RunDirectory.open(_trained(work / "other")))
    fresh = job.create_run("", work / "fresh")
    (fresh.path / "notes.txt").write_text("mine")
    fresh.discard()
    assert [path.name for path in fresh.path.iterdir()] == ["notes.txt"]
    RunDirectory.open(work / "other").discard()
    assert (work / "other" / "config.json").exists()


def _trained(path: Path) -> Path:
    assert run([*TRAIN, "--backend=torch", f"--run-dir={path}"]) == 0
    return path


def test_many_trainings_begun_in_the_same_second_get_a_directory_each(work: Path):
    moment = str(time.time() + 15)
    script = textwrap.dedent(
        """
        import sys, time
        from motrix_train.storage.run_directory import RunDirectory
        from pathlib import Path
        time.sleep(max(0, float(sys.argv[1]) - time.time()))
        for _ in range(20):
            RunDirectory.create(Path("runs"), "Motrix/CartPole-v0", "torch", 0, {})
        """
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, moment], stderr=subprocess.PIPE, text=True) for _ in range(6)
    ]
    assert [process.communicate(timeout=120)[1] for process in processes] == [""] * 6
    made = list((work / "runs/Motrix/CartPole-v0").iterdir())
    assert len(made) == 120
    assert all((path / "config.json").is_file() for path in made)


def test_what_a_killed_write_left_is_cleared_by_the_next_start(copied: RunDirectory):
    last = copied.checkpoint("last")
    assert last is not None
    left = [
        copied.checkpoints / f".last_abcd1234{last.suffix}",
        copied.checkpoints / f".resume_abcd1234{last.suffix}",
        copied.checkpoints / f".best_before_end_abcd1234{last.suffix}",
        copied.checkpoints / f".step_64_abcd1234{last.suffix}",
        copied.path / ".config_abcd1234.json",
    ]
    mine = [copied.checkpoints / ".last_words.txt", copied.path / ".hidden"]
    for path in [*left, *mine]:
        path.write_text("half")
    assert run(["train", "--resume", str(copied.path), "--max-env-steps=256", "--quiet"]) == 0
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in mine)


def test_only_fields_of_the_task_are_taken(work: Path, refused: Refusal):
    for name in ("autoreset_mode", "task", "num_threads", "render_mode"):
        assert name in refused(*TRAIN, "--backend=torch", f'--set=training_env={{"{name}": "NextStep"}}')
        assert name in refused(*TRAIN, "--backend=torch", f"--env={name}=NextStep")
