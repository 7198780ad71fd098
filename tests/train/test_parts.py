"""Layers that are computed in parts of the rows, in several threads, give what they give in one piece."""

import os
import subprocess
import sys
import textwrap
import threading

import pytest
import torch
from comparison import everything
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import motrix_train
from motrix_train.distributed import SINGLE_PROCESS
from motrix_train.learning.torch import parts
from motrix_train.learning.torch.parts import FEW_ROWS, ROWS_OF_A_PART, in_parts
from motrix_train.storage.run_directory import RunDirectory

NUMBERS_OF_ROWS = st.sampled_from([1, 7, FEW_ROWS - 1, FEW_ROWS, FEW_ROWS + 1, 3 * ROWS_OF_A_PART + 5])
LARGE_BATCHES = {
    "num_envs": 64,
    "rollouts": 32,
    "mini_batches": 1,
    "learning_epochs": 2,
    "max_env_steps": 8192,
    "check_point_interval": 64,
    "evaluation_interval": 0,
}


@pytest.fixture(autouse=True)
def _each_product_in_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    parts.THREADS.set(1)
    torch.set_num_threads(before)


def layers(seed: int) -> list[nn.Module]:
    torch.manual_seed(seed)
    return [nn.Sequential(nn.Linear(5, 16), nn.ELU(), nn.Linear(16, 8), nn.Tanh()), nn.Linear(8, 3)]


def gradients(compute, seed: int, rows: int, of_rows: bool) -> list[torch.Tensor]:
    """The output, and the gradients of a loss: those of all parameters, and of the rows if these are asked for."""
    net = layers(seed)
    inputs = torch.randn(rows, 5).requires_grad_(of_rows)
    output = compute(net, inputs)
    output.square().mean().backward()
    variables = [p for layer in net for p in layer.parameters()] + ([inputs] if of_rows else [])
    found = [variable.grad for variable in variables]
    assert all(gradient is not None for gradient in found)
    return [output.detach(), *(gradient for gradient in found if gradient is not None)]


@given(rows=NUMBERS_OF_ROWS, of_rows=st.booleans(), threads=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_parts_give_what_the_whole_gives(rows, of_rows, threads, seed):
    parts.THREADS.set(threads)
    whole = gradients(lambda net, x: net[1](net[0](x)), seed, rows, of_rows)
    found = gradients(in_parts, seed, rows, of_rows)
    for one, other in zip(found, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@given(rows=NUMBERS_OF_ROWS, of_rows=st.booleans(), threads=st.integers(2, 4), seed=st.integers(0, 2**31))
def test_number_of_threads_changes_no_bit(rows, of_rows, threads, seed):
    found = []
    for count in (1, threads):
        parts.THREADS.set(count)
        found.append(gradients(in_parts, seed, rows, of_rows))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_parts_are_computed_in_several_threads(monkeypatch):
    used = set()
    compute = parts._after

    def noted(layers, rows):
        used.add((threading.get_ident(), len(rows)))
        return compute(layers, rows)

    monkeypatch.setattr(parts, "_after", noted)
    parts.THREADS.set(2)
    in_parts(layers(0), torch.randn(2 * FEW_ROWS, 5))
    assert len({thread for thread, _ in used}) == 2
    assert {rows for _, rows in used} == {FEW_ROWS}


def test_error_in_a_part_reaches_the_caller():
    parts.THREADS.set(2)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        in_parts(layers(0), torch.randn(2 * FEW_ROWS, 6))


@pytest.mark.parametrize("mirror", ["none", "policy_and_value"])
@pytest.mark.parametrize("shared", [False, True])
def test_training_is_the_same_on_any_number_of_cpus(tmp_path, monkeypatch, mirror, shared):
    settings = {**LARGE_BATCHES, "mirror": mirror, "share_policy_value_features": shared}
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for cpus in (1, 3):
        monkeypatch.setattr(SINGLE_PROCESS, "cpus", cpus)
        motrix_train.train(
            "Motrix/Go1-v0", backend="torch", seed=3, settings=settings, run_dir=tmp_path / str(cpus), quiet=True
        )
    one, other = (everything(RunDirectory.open(tmp_path / str(cpus))) for cpus in (1, 3))
    assert one == other


FAULTS = """
    import ctypes, resource, sys, torch
    from motrix_train.learning.torch.freed_memory import keep_freed_memory

    PR_SET_THP_DISABLE = 41
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)  # one fault is one page
    if sys.argv[1] == "keep":
        keep_freed_memory()
    first = torch.ones(2**20)

    def ask_and_free(times):
        for _ in range(times):
            [first + number for number in range(4)]

    ask_and_free(5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    ask_and_free(20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(what: str) -> int:
    """Of a process whose C library gives each large tensor back, where nothing tells it to keep some.

    By default it decides so from what was freed before and from where it lay, which differs from process to process.
    """
    command = [sys.executable, "-c", textwrap.dedent(FAULTS), what]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**17)}
    return int(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux is told")
def test_freed_memory_is_used_again():
    pages = 4 * 4 * 2**20 // 4096  # of the tensors that one round asks for
    assert page_faults("keep") < 3 * pages
    assert page_faults("give back") > 10 * pages
