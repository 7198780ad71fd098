"""The robot is what the task takes it for, it stands, and a policy trains."""

from pathlib import Path

import gymnasium
import motrix_gym
import motrix_train
import numpy as np

from my_dog.tasks import ROBOT, MyDog

ID = "MyDog/Walk-v0"


def test_the_task_is_sound():
    ROBOT.check()
    motrix_gym.check_task(MyDog())


def test_the_environment_keeps_the_laws():
    motrix_gym.check_vector_env(gymnasium.make_vec(ID, num_envs=8, num_threads=1))


def test_it_weighs_what_the_published_parts_weigh():
    parts = 3.3 + 4 * (0.54 + 0.634 + 0.064) + 12 * 0.055  # kg: trunk, legs, rotors
    np.testing.assert_allclose(MyDog().model().body_subtreemass[0], parts, atol=1e-6)


def test_it_stands():
    envs = motrix_gym.MotrixVectorEnv(MyDog(still_probability=1.0), 8, num_threads=1)
    envs.reset(seed=0)
    for _ in range(150):
        *_, terminated, _, _ = envs.step(np.zeros((8, 12)))
        assert not terminated.any()
    height = envs.get_state()["qpos"][:, 2]
    assert (height > 0.8 * ROBOT.standing_height).all()


def test_two_updates_train(tmp_path: Path):
    small = {"check_point_interval": 64, "evaluation_episodes": 4}
    run = motrix_train.train(
        ID, num_envs=8, max_env_steps=512, settings=small, num_threads=1, run_dir=tmp_path / "run", quiet=True
    )
    assert run.progress["env_steps"].tolist() == [256, 512]
    assert run.best_policy.is_file()
