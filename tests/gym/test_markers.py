"""What only the memory knows is drawn where it is, and only drawn."""

import gymnasium
import numpy as np
import pytest

IDS = [
    *("Motrix/ReacherEasy-v0", "Motrix/ReacherHard-v0", "Motrix/FingerTurnEasy-v0", "Motrix/FingerTurnHard-v0"),
    *("Motrix/FishSwim-v0", "Motrix/Swimmer6-v0", "Motrix/Swimmer15-v0"),
]
POINTERS = {  # what the task brings to its target
    "Reacher": ("body", "finger"),
    "FingerTurn": ("site", "tip"),
    "FishSwim": ("geom", "mouth"),
    "Swimmer": ("geom", "nose"),
    "Swimmer15": ("geom", "nose"),
}


@pytest.fixture(params=IDS)
def envs(request: pytest.FixtureRequest):
    envs = gymnasium.make_vec(request.param, num_envs=3, num_threads=1).unwrapped
    envs.reset(seed=0)
    for _ in range(5):
        envs.step(envs.action_space.sample())
    return envs


def test_the_target_is_drawn_as_far_away_as_the_task_measures(envs):
    task, state = envs.task, envs.get_state()
    *_, info = envs.step(np.zeros(envs.action_space.shape))
    kind, name = POINTERS[type(task).__name__]
    memory = type(task.reset(envs.batch.state.rng)[2])(target=state["memory.target"])
    for row in range(3):
        markers = {body: x[row] for body, x in task.markers(memory).items()}
        _, data = envs.batch.physics.view(row, markers)
        pointer = getattr(data, kind)(name).xpos
        distance = np.linalg.norm(pointer - data.site("target").xpos)
        rim = task.target_radius if kind == "site" else 0.0
        assert distance - rim == pytest.approx(info["metrics"]["distance"][row], abs=1e-9)


def test_the_target_is_drawn_in_its_size_and_touches_nothing(envs):
    model = envs.task.model()
    assert model.site("target").size[0] == envs.task.target_radius
    assert model.body("target").geomnum[0] == 0
