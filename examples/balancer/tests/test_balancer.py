"""The task is sound, its environment keeps the laws, the robot falls unless it is driven, and a policy trains."""

from pathlib import Path

import gymnasium
import motrix_gym
import motrix_train
import numpy as np

from balancer.tasks import Drive

ID = "Balancer/Drive-v0"


def test_the_task_is_sound():
    motrix_gym.check_task(Drive())


def test_the_environment_keeps_the_laws():
    motrix_gym.check_vector_env(gymnasium.make_vec(ID, num_envs=8, num_threads=1))


def test_without_torque_it_falls():
    envs = gymnasium.make_vec(ID, num_envs=8, num_threads=1)
    envs.reset(seed=0)
    fallen = np.zeros(8, dtype=bool)
    for _ in range(150):
        *_, info = envs.step(np.zeros((8, 2)))
        fallen |= info["termination"]["fallen"]
    assert fallen.all()


def test_two_updates_train(tmp_path: Path):
    small = {"check_point_interval": 64, "evaluation_episodes": 4}
    run = motrix_train.train(
        ID, num_envs=8, max_env_steps=512, settings=small, num_threads=1, run_dir=tmp_path / "run", quiet=True
    )
    assert run.progress["env_steps"].tolist() == [256, 512]
    assert run.best_policy.is_file()
