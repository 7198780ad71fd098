"""Damaged and hostile files of every kind are taken, or refused in one line; `nox -s fuzz` tries for a minute.

``MOTRIX_FUZZ_SECONDS`` says how long each test may take in all; without it each tries a handful of files.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))

from forgery import EVIL, evil_module, forge

from motrix_train.cli import run
from motrix_train.curriculum.plan import Plan
from motrix_train.errors import RunError, UsageError
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.callbacks import Callback
from motrix_train.training.records import RolloutStats
from motrix_train.training.run import train_run

SECONDS = float(os.environ.get("MOTRIX_FUZZ_SECONDS", "1"))
SLOWEST = 5.0  # s of processor time that a refusal may take
TINY = (
    *("--num-envs=4", "--max-env-steps=64", "--set=rollouts=8", "--set=check_point_interval=8", "--num-threads=1"),
    *("--set=evaluation_episodes=2", "--set=policy_hidden_layer_sizes=8", "--set=value_hidden_layer_sizes=8"),
    *("--env=max_episode_steps=8", "--quiet"),
)
PLAN = """
backend = "torch"
seed = 1
[defaults]
env_id = "Motrix/CartPole-v0"
max_env_steps = 64
env = { max_episode_steps = 8, reward_weights = { alive = 1.0 } }
set = { num_envs = 4, rollouts = 8, check_point_interval = 8, policy_hidden_layer_sizes = [8], mini_batches = 2 }
[[stages]]
name = "one"
advance_when = ["episodes >= 2", "mean_return > 0"]
otherwise = "stop"
[[stages]]
name = "two"
partial = true
"""

deep = st.integers(1, 5000).map(lambda depth: "[" * depth + "]" * depth)
strange = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.sampled_from([0, -1, 1e30, -1e30, 2**31, 2**63, 2**64, 10**400, float("nan"), float("inf")]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([f"{EVIL}:X", f"{EVIL}:Motrix/CartPole-v0", "../../victim", "/../../victim", "\0", "x" * 10_000]),
    st.lists(st.integers(-3, 10), max_size=4),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    st.builds(lambda: {"task": f"{EVIL}:X"}),
    st.builds(lambda: [1] * 20_000),
)


def places(tree: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a JSON tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path for name, inner in items for path in ((*above, name), *places(inner, (*above, name)))]


@st.composite
def edits(draw: st.DrawFn, tree: Any) -> Any:
    """The tree with one or two values replaced, removed, renamed or added."""
    edited = json.loads(json.dumps(tree))
    for _ in range(draw(st.integers(1, 2))):
        known = places(edited)
        if not known:
            break
        *parents, last = draw(st.sampled_from(known))
        inner = edited
        for parent in parents:
            inner = inner[parent]
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "rename"])):
            case "replace":
                inner[last] = draw(strange)
            case "remove":
                del inner[last]
            case "rename" if isinstance(inner, dict):
                inner[draw(st.text(max_size=5))] = inner.pop(last)
    return edited


@st.composite
def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with some flipped, cut off, put in or repeated."""
    position = draw(st.integers(0, len(data) - 1))
    match draw(st.sampled_from(["flip", "cut", "insert", "repeat", "deep"])):
        case "flip":
            return data[:position] + bytes([data[position] ^ draw(st.integers(1, 255))]) + data[position + 1 :]
        case "cut":
            return data[:position]
        case "insert":
            return data[:position] + draw(st.binary(min_size=1, max_size=8)) + data[position:]
        case "deep":
            return data[:position] + draw(deep).encode() + data[position:]
        case _:
            return data[:position] + data[position : position + draw(st.integers(1, 64))] * 3 + data[position:]


class StopAtOnce(Callback):
    """Ends a training that goes on with its first rollout."""

    def rollout(self, stats: RolloutStats) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run of each backend, a curriculum, a plan, an evil module and a victim."""
    directory = tmp_path_factory.mktemp("fuzz")
    for backend in ("torch", "jax"):
        pytest.importorskip(backend)
        path = f"--run-dir={directory / backend}"
        assert run(["train", "Motrix/CartPole-v0", f"--backend={backend}", "--seed=1", path, *TINY]) == 0
    (directory / "plan.toml").write_text(PLAN)
    path = f"--run-dir={directory / 'whole'}"
    assert run(["curriculum", str(directory / "plan.toml"), path, "--num-threads=1", "-q"]) in (0, 1)
    evil_module(directory)
    (directory / "victim").mkdir()
    (directory / "victim" / "thesis.txt").write_text("years of work")
    sys.path.insert(0, str(directory))
    yield directory
    sys.path.remove(str(directory))


def in_time(examples: Callable[[], None]) -> None:
    """Tries examples of a property until the time is over."""
    until = time.monotonic() + SECONDS
    while True:
        examples()
        if time.monotonic() > until:
            return


batch = settings(
    max_examples=10,
    deadline=None,
    database=None,
    derandomize=SECONDS <= 1,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@contextlib.contextmanager
def one_line_at_most(place: Path):
    """A block whose refusals are one line each, in time, with nothing imported and nothing touched elsewhere."""
    said, start = io.StringIO(), time.process_time()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            yield said
    except (UsageError, RunError) as refusal:
        print(f"motrix-train: {' '.join(str(refusal).split())}", file=said)
    taken = time.process_time() - start
    assert taken < SLOWEST, f"{taken:.1f} s for: {said.getvalue()[:300]}"
    assert sum(line.startswith("motrix-train: ") for line in said.getvalue().splitlines()) <= 1
    assert "Traceback" not in said.getvalue()
    assert EVIL not in sys.modules
    assert not (place / "was-imported").exists()
    assert (place / "victim" / "thesis.txt").read_text() == "years of work"


@contextlib.contextmanager
def fresh_copy(source: Path):
    """A copy of a directory or a file beside it, removed again."""
    copied = source.with_name(f"copy_{source.name}")
    (shutil.copytree if source.is_dir() else shutil.copy)(source, copied)
    try:
        yield copied
    finally:
        shutil.rmtree(copied) if copied.is_dir() else copied.unlink()


def go_on(place: Path, directory: Path) -> None:
    """Every way in which a run is read."""
    with one_line_at_most(place):
        run(["plot", str(directory), "--out", str(place / "plot.png")])
    with one_line_at_most(place):
        run(["train", "--resume", str(directory), "--device=nonsense", "--max-env-steps=4096"])
    with one_line_at_most(place):
        train_run(RunDirectory.open(directory), StopAtOnce())


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_bytes_of_a_policy(backend: str, place: Path):
    best = RunDirectory(place / backend).best_policy()
    whole = best.read_bytes()

    @batch
    @given(damage(whole))
    def examples(data: bytes) -> None:
        path = place / f"damaged{best.suffix}"
        path.write_bytes(data)
        with one_line_at_most(place), contextlib.suppress(UsageError, RunError):
            found = checkpoint.read(path)
            assert {name: x.tobytes() for name, x in checkpoint.leaves(found.state)} == {
                name: x.tobytes() for name, x in checkpoint.leaves(checkpoint.read(best).state)
            }

    in_time(examples)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_header_of_a_policy(backend: str, place: Path):
    last = RunDirectory(place / backend).resume_path
    good = checkpoint.read(last)
    header = checkpoint.header(good)
    names = [name for name, _ in checkpoint.leaves({**good.state, "session": good.resume_state})]

    @batch
    @given(edits(header), st.sets(st.sampled_from(names), max_size=1), st.booleans())
    def examples(edited: Any, gone: set[str], flat: bool) -> None:
        def lose(arrays: dict[str, Any]) -> None:
            for name in gone:
                array = arrays.pop(name)
                if flat:
                    arrays[name] = array.reshape(-1)[:1]

        with fresh_copy(place / backend) as copied:
            path = copied / "checkpoints" / last.name
            forge(path, json.dumps(edited), lose)
            with one_line_at_most(place):
                run(["evaluate", str(path), "--episodes=1", "--num-threads=1"])
            with one_line_at_most(place):
                train_run(RunDirectory.open(copied), StopAtOnce())

    in_time(examples)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_fields_of_a_run(backend: str, place: Path):
    content = RunDirectory(place / backend).config()

    @batch
    @given(edits(content))
    def examples(edited: Any) -> None:
        with fresh_copy(place / backend) as copied:
            (copied / "config.json").write_text(json.dumps(edited))
            go_on(place, copied)

    in_time(examples)


@pytest.mark.parametrize("name", ["config.json", "progress.csv", "events"])
def test_bytes_of_the_files_of_a_run(name: str, place: Path):
    file = next((place / "torch").glob(f"{name}*"))

    @batch
    @given(damage(file.read_bytes()))
    def examples(data: bytes) -> None:
        with fresh_copy(place / "torch") as copied:
            (copied / file.name).write_bytes(data)
            go_on(place, copied)

    in_time(examples)


def test_a_curriculum(place: Path):
    record = place / "whole" / "curriculum.json"

    @batch
    @given(
        edits(json.loads(record.read_text())).map(lambda tree: json.dumps(tree).encode()) | damage(record.read_bytes())
    )
    def examples(data: bytes) -> None:
        with fresh_copy(place / "whole") as copied:
            (copied / record.name).write_bytes(data)
            with one_line_at_most(place):
                run(["curriculum", "--resume", str(copied), "--device=nonsense", "-q"])

    in_time(examples)


def test_a_plan(place: Path):
    @batch
    @given(damage(PLAN.encode()))
    def examples(data: bytes) -> None:
        path = place / "damaged.toml"
        path.write_bytes(data)
        with one_line_at_most(place):
            run(["curriculum", str(path), "--device=nonsense", "--run-dir", str(place / "never")])
        with one_line_at_most(place):
            Plan.read(path).check("cpu")

    in_time(examples)
