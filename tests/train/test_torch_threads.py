"""Torch computes small networks in one thread: so a training does not come to a standstill beside another program."""

import os
import subprocess
import sys
import textwrap

import pytest

from motrix_train.operating_system import usable_cpus

pytest.importorskip("torch")

ASK = """
    import sys, torch
    import gymnasium
    from motrix_train.learning.backend import select
    from motrix_train.config import PPOCfg

    spaces = gymnasium.spaces.Box(-9, 9, (3,)), gymnasium.spaces.Box(-1, 1, (2,))
    torch.set_num_threads(2)
    cfg = PPOCfg(num_envs=4, policy_hidden_layer_sizes=(int(sys.argv[1]),), value_hidden_layer_sizes=(8,))
    select("torch").make_agent(*spaces, cfg.num_envs, cfg, None, "cpu")
    print(torch.get_num_threads())
"""


def threads(width: int, **variables: str) -> int:
    """Of a training with a hidden layer of this width, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", textwrap.dedent(ASK), str(width)]
    return int(subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=True).stdout)


def test_small_layers_take_one_thread_wide_ones_all_cpus():
    assert threads(512) == 1
    assert threads(513) == len(usable_cpus())


def test_who_says_how_many_threads_gets_them():
    assert threads(8, OMP_NUM_THREADS="2") == 2
