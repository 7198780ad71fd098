"""Two real processes train as one, and what they tell each other arrives."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from comparison import everything
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from test_resume import TINY
from worker import batches

from motrix_train.cli import run as command
from motrix_train.distributed import SINGLE_PROCESS, ProcessGroup, pool_moments
from motrix_train.errors import EndedElsewhere, RunError, UsageError
from motrix_train.launcher import ProcessInfo, first_host
from motrix_train.operating_system import usable_cpus
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training.seeds import Seeds

WORKER = Path(__file__).with_name("worker.py")
CARTPOLE = "Motrix/CartPole-v0"


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def launcher(backend: str) -> list[str]:
    if backend == "torch":
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    address = f"127.0.0.1:{free_port()}"
    here = f"--coordinator-address={address}"
    return [sys.executable, "-m", "skrl.utils.distributed.jax", "--nproc-per-node=2", here]


@pytest.mark.posix
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_two_workers(backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """One launch for all that is to be seen in it, since starting is what takes the time."""
    pytest.importorskip(backend)
    ended = subprocess.run(
        [*launcher(backend), str(WORKER), backend, str(tmp_path)], capture_output=True, text=True, timeout=900
    )
    assert ended.returncode == 0, ended.stderr
    seen = [json.loads((tmp_path / f"seen{rank}.json").read_text()) for rank in (0, 1)]
    arrays = [dict(np.load(tmp_path / f"arrays{rank}.npz")) for rank in (0, 1)]
    whole, resumed = (RunDirectory.open(tmp_path / name) for name in ("whole", "resumed"))

    threads = {name for rank in (0, 1) for name in (tmp_path / f"threads{rank}.txt").read_text().splitlines()}
    assert not any("gloo" in name for name in threads)  # one that outlives Python may abort the process
    networks_are_equal_on_both(arrays)
    rows_are_those_of_one_process(arrays)
    assert [part["updates before the stop"] for part in seen] == [2, 2]
    stopped_and_resumed_is_exact(whole, resumed, arrays)
    scalers_know_the_rows_of_both(arrays)
    halves_teach_what_the_whole_does(arrays)
    assert [part["mean_gradient"].min() for part in arrays] == [part["mean_gradient"].max() for part in arrays]
    assert [part["mean_gradient"].flat[0] for part in arrays] == [1.5, 1.5]
    logs_are_of_both(whole, seen)
    cpus = max(1, len(usable_cpus()) // 2)
    assert [(part["cpus"], part["threads"]) for part in seen] == [(cpus, cpus)] * 2
    mistakes_are_told_once(seen, tmp_path)
    assert command(["train", "--resume", str(whole.path)]) == 2
    assert "was begun with 2 worker(s) and goes on with as many, not with 1" in capsys.readouterr().err


def networks_are_equal_on_both(arrays: list[dict[str, np.ndarray]]) -> None:
    for moment in ("first/", "last/", "resumed/"):
        names = [name for name in arrays[0] if name.startswith(moment)]
        assert any("optimizer" in name for name in names) or moment == "first/"
        assert any("learning_rate" in name for name in names)
        assert {name: arrays[0][name].tobytes() for name in names} == {
            name: arrays[1][name].tobytes() for name in names
        }
    weights = [name.removeprefix("first/") for name in arrays[0] if name.startswith("first/policy/")]
    assert any((arrays[0][f"first/{name}"] != arrays[0][f"last/{name}"]).any() for name in weights)


def rows_are_those_of_one_process(arrays: list[dict[str, np.ndarray]]) -> None:
    env = gymnasium.make_vec(CARTPOLE, num_envs=2 * TINY.num_envs)
    expected, _ = env.reset(seed=Seeds.from_run_seed(TINY.seed).env)
    env.close()
    assert np.concatenate([part["observations"] for part in arrays]).tolist() == expected.tolist()


def stopped_and_resumed_is_exact(
    whole: RunDirectory, resumed: RunDirectory, arrays: list[dict[str, np.ndarray]]
) -> None:
    assert everything(resumed) == everything(whole)
    for part in arrays:
        last = {name.removeprefix("last/"): part[name].tobytes() for name in part if name.startswith("last/")}
        assert last == {name.removeprefix("resumed/"): part[name].tobytes() for name in part if "resumed/" in name}
    steps = len(RunDirectory.open(whole.path).progress()["env_steps"])
    assert steps == TINY.env_steps(2) // (2 * TINY.num_envs * TINY.rollouts)


def scalers_know_the_rows_of_both(arrays: list[dict[str, np.ndarray]]) -> None:
    """As one process that standardises the rows of both: SKRL's running moments, in NumPy."""
    rows = batches()
    parts = {"observation": slice(None), "state": slice(None, None, -1), "value": slice(1)}
    for scaler, columns in ((f"{part}_normalizer", columns) for part, columns in parts.items()):
        count, mean, variance = 1.0, 0.0, 1.0
        for batch in np.concatenate(rows, axis=1)[..., columns].astype(float):
            n, delta = len(batch), batch.mean(0) - mean
            squares = variance * count + batch.var(0, ddof=1) * n + delta**2 * count * n / (count + n)
            count, mean, variance = count + n, mean + delta * n / (count + n), squares / (count + n)
        for part in arrays:
            assert part[f"scaler/{scaler}/count"] == count
            assert part[f"scaler/{scaler}/mean"] == pytest.approx(mean, rel=1e-5)
            assert part[f"scaler/{scaler}/variance"] == pytest.approx(variance, rel=1e-5)


def halves_teach_what_the_whole_does(arrays: list[dict[str, np.ndarray]]) -> None:
    alone = {name.removeprefix("alone/"): value for name, value in arrays[0].items() if name.startswith("alone/")}
    assert any("learning_rate" in name for name in alone)
    for part in arrays:
        for name, value in alone.items():
            assert part[f"together/{name}"] == pytest.approx(value, rel=1e-3, abs=2e-5), name


def logs_are_of_both(whole: RunDirectory, seen: list[dict[str, Any]]) -> None:
    progress = whole.progress()
    assert progress["env_steps"].tolist() == [2 * 128 * n for n in range(1, 5)]
    assert progress["mean_return"][-1] == pytest.approx(np.mean([part["mean_return"] for part in seen]))
    assert progress["episodes"][-1] == sum(part["episodes"] for part in seen)
    last = checkpoint.read(whole.resume_path)
    assert last.env_steps == TINY.max_env_steps
    assert set(last.resume_state["workers"]) == {"0", "1"}


def mistakes_are_told_once(seen: list[dict[str, Any]], directory: Path) -> None:
    told, silent = ([part[f"mistake of {whose}"] for whose in ("all", "one")] for part in seen)
    assert told[0].startswith("UsageError: kl_threshold 0.1 is not possible with 2 workers")
    assert told[1] == "UsageError: worker 1: this machine has no such environment"
    assert all(text.startswith("EndedElsewhere") for text in silent)
    assert not (directory / "a").exists()
    assert not (directory / "b").exists()


def by_srun(*arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """Two processes as srun would start them."""
    given = {
        "SLURM_JOB_ID": "77",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "motrix_train", *arguments],
            env={**os.environ, **given, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=600) for process in started]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *texts)
        for process, texts in zip(started, said, strict=True)
    ]


def test_slurm(tmp_path: Path):
    pytest.importorskip("torch")
    options = (
        "--backend=torch",
        "--device=cpu",
        "--num-envs=8",
        "--max-env-steps=1024",
        f"--run-dir={tmp_path / 'run'}",
    )
    settings = ("--set=rollouts=16", "--set=check_point_interval=32")
    main, other = by_srun("train", CARTPOLE, *options, *settings)
    assert (main.returncode, other.returncode) == (0, 0), main.stderr + other.stderr
    assert "2 workers   1,024 steps" in main.stderr
    assert main.stdout.splitlines()[-4].startswith("Trained:")
    assert other.stderr == ""
    assert "Trained" not in other.stdout
    assert RunDirectory.open(tmp_path / "run").progress()["env_steps"].tolist() == [256, 512, 768, 1024]


def test_a_mistake_on_the_command_line_is_told_once():
    pytest.importorskip("torch")
    main, other = by_srun("train", "Motrix/CartPol-v0", "--backend=torch")
    assert (main.returncode, other.returncode) == (2, 2)
    assert main.stderr == "motrix-train: no environment 'Motrix/CartPol-v0': did you mean Motrix/CartPole-v0?\n"
    assert other.stderr == ""


def process(**environ: Any) -> ProcessInfo:
    return ProcessInfo.from_environ({name: str(value) for name, value in environ.items()})


def test_the_variables_of_each_launcher():
    torchrun = {"WORLD_SIZE": 6, "RANK": 5, "LOCAL_RANK": 1, "MASTER_ADDR": "a.b", "MASTER_PORT": 29500}
    assert process(**torchrun) == ProcessInfo(5, 6, 1, "a.b:29500", "torch")
    skrl = {"JAX_WORLD_SIZE": 2, "JAX_RANK": 1, "JAX_LOCAL_RANK": 0}
    assert process(**skrl, JAX_COORDINATOR_ADDR="1.2.3.4", JAX_COORDINATOR_PORT=5000) == ProcessInfo(
        1, 2, 0, "1.2.3.4:5000", "jax"
    )
    srun = {"SLURM_STEP_NUM_TASKS": 8, "SLURM_PROCID": 3, "SLURM_LOCALID": 3, "SLURM_STEP_NODELIST": "n[07-09]"}
    found = process(**srun, SLURM_JOB_ID=123456, SLURM_STEP_ID=2)
    host, _, port = found.address.partition(":")
    assert (found.rank, found.size, found.local_rank, found.backend, host) == (3, 8, 3, None, "n07")
    assert 20_000 <= int(port) < 32_000
    assert process(**srun, **torchrun) == process(**torchrun)  # torchrun in a step of SLURM
    assert process(**srun, MASTER_ADDR="other", MASTER_PORT=4).address == "other:4"


@pytest.mark.parametrize("environ", [{}, {"WORLD_SIZE": 1}, {"SLURM_JOB_ID": 3, "SLURM_NTASKS": 4, "SLURM_PROCID": 0}])
def test_a_process_by_itself(environ: dict[str, Any]):
    assert process(**environ) == ProcessInfo()  # also in a batch script, which srun has not started


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"WORLD_SIZE": 2}, "WORLD_SIZE is 2, but RANK is not set"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two': it takes a whole number"),
        ({"WORLD_SIZE": 2, "RANK": 0, "LOCAL_RANK": 0}, "MASTER_ADDR is not set"),
    ],
)
def test_half_a_launcher_is_refused(environ: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        process(**environ)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node7", "node7"),
        ("node001,host2", "node001"),
        ("node[001-0015],host2", "node001"),
        ("node[001,007-015],host2", "node001"),
        ("rack[2-3]-node[04-05].lan,x", "rack2-node04.lan"),
    ],
)
def test_the_first_host_of_a_list(nodes: str, first: str):
    assert first_host(nodes) == first


def test_workers_share_no_row_and_no_noise():
    seeds = [Seeds.from_run_seed(3).for_worker(rank, num_envs=4) for rank in range(5)]
    rows = [worker.env + row for worker in seeds for row in range(4)]
    assert rows == list(range(rows[0], rows[0] + 20))
    assert len({worker.networks for worker in seeds}) == 5
    assert {worker.evaluation for worker in seeds} == {seeds[0].evaluation}
    assert seeds[0] == Seeds.from_run_seed(3)


@given(
    parts=st_numpy.arrays(
        float, st.tuples(st.integers(1, 4), st.integers(2, 9), st.integers(1, 3)), elements=st.floats(-1e3, 1e3)
    )
)
def test_pooled_moments_are_those_of_all_rows(parts: np.ndarray):  # (parts, rows, k)
    rows = parts.reshape(-1, parts.shape[-1])
    mean, variance, count = pool_moments(parts.mean(1), parts.var(1, ddof=1), parts.shape[1])
    assert count == len(rows)
    assert mean == pytest.approx(rows.mean(0), abs=1e-9)
    assert variance == pytest.approx(rows.var(0, ddof=1), abs=1e-6)


class Threads:
    """Carries between workers that are threads of this process."""

    def __init__(self, size: int) -> None:
        self._barrier = threading.Barrier(size, timeout=20)
        self._given: list[np.ndarray] = [np.zeros(0, np.uint8)] * size

    def of(self, rank: int) -> "Threads":
        mine = Threads.__new__(Threads)
        mine._barrier, mine._given, mine._rank = self._barrier, self._given, rank
        return mine

    def all_gather(self, data: np.ndarray) -> np.ndarray:
        self._given[self._rank] = data
        self._barrier.wait()
        gathered = np.stack(self._given)
        self._barrier.wait()
        return gathered

    def broadcast(self, data: np.ndarray, source: int) -> np.ndarray:
        return self.all_gather(data)[source]


def in_threads(size: int, work: Any) -> list[Any]:
    """What `work(group)` returns or raises, by rank."""
    transport, results = Threads(size), [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = work(ProcessGroup(ProcessInfo(rank, size), transport.of(rank)))
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_trees_arrive_as_they_were():
    def tree(rank: int) -> dict[str, Any]:
        return {"a": {"b/c": np.arange(rank + 3.0), "n": rank}, "t": "ä", "flag": np.array([True])}

    def work(group: ProcessGroup) -> Any:
        return group.from_main(lambda: tree(group.rank)), group.gather(tree(group.rank))

    results = in_threads(3, work)
    for shared, _ in results:
        assert repr(checkpointed(shared)) == repr(checkpointed(tree(0)))
    assert [repr(checkpointed(part)) for part in results[0][1]] == [repr(checkpointed(tree(rank))) for rank in range(3)]
    assert [gathered for _, gathered in results[1:]] == [[], []]


def checkpointed(tree: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in checkpoint.leaves(tree)}


def test_means_leave_out_who_has_no_number():
    def work(group: ProcessGroup) -> Any:
        nan = float("nan")
        values = {"all": group.rank, "one": 5.0 if group.rank == 2 else nan, "none": nan}
        return (
            group.mean(values),
            group.any(lambda: group.rank == 1),
            group.any(bool),
            group.all(lambda: group.rank < 3),
        )

    for means, *flags in in_threads(3, work):
        assert (means["all"], means["one"], *flags) == (1.0, 5.0, True, False, True)
        assert np.isnan(means["none"])


@pytest.mark.parametrize("failing", [{0}, {1}, {1, 2}, {0, 1, 2}])
@pytest.mark.parametrize("kind", [UsageError, RunError, OSError, ZeroDivisionError])
def test_what_fails_for_one_ends_all(failing: set[int], kind: type[Exception]):
    def work(group: ProcessGroup) -> None:
        def fail() -> None:
            if group.rank in failing:
                raise kind("the disk is full")

        group.run(fail)

    results = in_threads(3, work)
    assert all(isinstance(result, Exception) for result in results)
    expected = kind is not ZeroDivisionError
    if expected:
        assert "the disk is full" in str(results[0])
        assert not any(type(result) is kind for result in results[1:]) or kind is OSError
    else:  # a fault of the program is raised where it is
        assert {rank for rank, result in enumerate(results) if type(result) is kind} == failing
    ended = [result for result in results if isinstance(result, EndedElsewhere)]
    assert {end.code for end in ended} <= {2 if kind is UsageError else 1}


def test_a_single_process_sends_nothing():
    tree = {"a": object()}
    assert SINGLE_PROCESS.from_main(lambda: tree) is tree
    assert SINGLE_PROCESS.gather(tree)[0] is tree
    assert SINGLE_PROCESS.mean({"a": 1.0}) == {"a": 1.0}
    assert not SINGLE_PROCESS.any(bool)
    with pytest.raises(ZeroDivisionError):
        SINGLE_PROCESS.run(lambda: 1 / 0)
