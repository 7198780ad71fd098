"""The tasks of dm_control's Control Suite are dm_control's: its dynamics, rewards, observations and beginnings."""

import numpy as np
import pytest
from oracle import SEED, SMALLEST_P, Counterpart, Pair, largest_error, two_sample_p


def place_reacher_target(physics, task_state):
    physics.named.model.geom_pos["target", ["x", "y"]] = task_state.target


def place_finger_target(physics, task_state):
    hub = physics.named.data.xanchor["hinge", ["x", "z"]]
    physics.named.model.site_pos["target", ["x", "z"]] = hub + task_state.target


def place_fish_target(physics, task_state):
    physics.named.model.geom_pos["target"] = task_state.target


def place_swimmer_target(physics, task_state):
    physics.named.model.geom_pos["target", ["x", "y"]] = task_state.target


def place_lqr_springs(physics, task_state):
    physics.model.jnt_stiffness[:] = task_state.stiffness


class StillAtFirst(np.random.RandomState):
    """Random numbers of dm_control's manipulator; each of its beginnings is drawn from rest, a rejected one too."""

    def __init__(self, physics):
        super().__init__(SEED)
        self._physics = physics

    def choice(self, *args, **kwargs):
        self._physics.data.qvel[:] = 0
        return super().choice(*args, **kwargs)


def draw_from_rest(environment):
    environment.task._random = StillAtFirst(environment.physics)


def place_prop_target(target, receptacle):
    """How dm_control's manipulator places the target, and what is around it."""

    def place(physics, task_state):
        x, z, pitch = task_state.target
        bodies = [target, receptacle] if receptacle else [target]
        for body in bodies:
            physics.named.model.body_pos[body, ["x", "z"]] = x, z
            physics.named.model.body_quat[body, ["qw", "qy"]] = np.cos(pitch / 2), np.sin(pitch / 2)

    return place


def place_stacker_target(physics, task_state):
    physics.named.model.body_pos["target", ["x", "z"]] = task_state.target


STILL_WATER = (0.0, 0.03, 0.1)  # speeds at which no explicit step through the dense fluid diverges

COUNTERPARTS = [
    Counterpart("Motrix/CartPoleBalance-v0", "cartpole", "balance"),
    Counterpart("Motrix/CartPoleSwingup-v0", "cartpole", "swingup"),
    Counterpart("Motrix/Pendulum-v0", "pendulum", "swingup"),
    Counterpart("Motrix/Acrobot-v0", "acrobot", "swingup"),
    Counterpart("Motrix/PointMass-v0", "point_mass", "easy"),
    Counterpart("Motrix/ReacherEasy-v0", "reacher", "easy", place=place_reacher_target),
    Counterpart("Motrix/ReacherHard-v0", "reacher", "hard", place=place_reacher_target),
    Counterpart("Motrix/FingerSpin-v0", "finger", "spin", touches=True),
    Counterpart("Motrix/FingerTurnEasy-v0", "finger", "turn_easy", place=place_finger_target, touches=True),
    Counterpart("Motrix/FingerTurnHard-v0", "finger", "turn_hard", place=place_finger_target, touches=True),
    Counterpart("Motrix/CheetahRun-v0", "cheetah", "run", touches=True, resets=500),
    Counterpart("Motrix/HopperStand-v0", "hopper", "stand", touches=True),
    Counterpart("Motrix/HopperHop-v0", "hopper", "hop", touches=True, resets=500),
    Counterpart("Motrix/WalkerStand-v0", "walker", "stand", touches=True),
    Counterpart("Motrix/WalkerWalk-v0", "walker", "walk", touches=True, resets=500),
    Counterpart("Motrix/WalkerRun-v0", "walker", "run", touches=True, resets=500),
    Counterpart("Motrix/HumanoidStand-v0", "humanoid", "stand", touches=True),
    Counterpart("Motrix/HumanoidWalk-v0", "humanoid", "walk", touches=True, resets=500),
    Counterpart("Motrix/HumanoidRun-v0", "humanoid", "run", touches=True, resets=500),
    Counterpart("Motrix/BallInCup-v0", "ball_in_cup", "catch", touches=True),
    Counterpart("Motrix/FishUpright-v0", "fish", "upright", speeds=STILL_WATER),
    Counterpart("Motrix/FishSwim-v0", "fish", "swim", place=place_fish_target, speeds=STILL_WATER),
    Counterpart("Motrix/Swimmer6-v0", "swimmer", "swimmer6", place=place_swimmer_target, speeds=STILL_WATER),
    Counterpart(
        "Motrix/Swimmer15-v0", "swimmer", "swimmer15", place=place_swimmer_target, speeds=STILL_WATER, resets=2000
    ),
    Counterpart("Motrix/LQR2_1-v0", "lqr", "lqr_2_1", place=place_lqr_springs, unlimited=True),
    Counterpart("Motrix/LQR6_2-v0", "lqr", "lqr_6_2", place=place_lqr_springs, unlimited=True),
    Counterpart("Motrix/QuadrupedWalk-v0", "quadruped", "walk", touches=True, resets=500),
    Counterpart("Motrix/QuadrupedRun-v0", "quadruped", "run", touches=True, resets=200),
    Counterpart("Motrix/QuadrupedFetch-v0", "quadruped", "fetch", touches=True, resets=500),
    *(
        Counterpart(
            env_id,
            "manipulator",
            task,
            adjust=draw_from_rest,
            place=place_prop_target(target, receptacle),
            touches=True,
            resets=1000,
        )
        for env_id, task, target, receptacle in [
            ("Motrix/ManipulatorBringBall-v0", "bring_ball", "target_ball", None),
            ("Motrix/ManipulatorBringPeg-v0", "bring_peg", "target_peg", None),
            ("Motrix/ManipulatorInsertBall-v0", "insert_ball", "target_ball", "cup"),
            ("Motrix/ManipulatorInsertPeg-v0", "insert_peg", "target_peg", "slot"),
        ]
    ),
    Counterpart("Motrix/StackerStack2-v0", "stacker", "stack_2", place=place_stacker_target, touches=True, resets=1000),
    Counterpart("Motrix/StackerStack4-v0", "stacker", "stack_4", place=place_stacker_target, touches=True, resets=1000),
]


@pytest.fixture(scope="module", params=COUNTERPARTS, ids=lambda c: f"{c.domain}-{c.task}")
def pair(request: pytest.FixtureRequest) -> Pair:
    """Every task that is held to dm_control, in turn."""
    return Pair(request.param)


def test_the_mass_matrix(pair):
    theirs, ours = pair.mass_matrices()
    assert largest_error(ours, theirs) < 1e-8


@pytest.mark.parametrize("contact", [True, False])
def test_the_accelerations(pair, contact):
    theirs, ours, contacts = pair.accelerations(contact)
    assert largest_error(ours, theirs) < 1e-8
    touching = (contacts > 0).mean()
    assert touching > 0.05 if contact and pair.counterpart.touches else touching == 0


def test_one_control_step(pair):
    theirs, ours = pair.their_steps(), pair.our_steps()
    assert largest_error(ours.qpos, theirs.qpos) < 1e-8
    assert largest_error(ours.qvel, theirs.qvel) < 1e-8
    np.testing.assert_allclose(ours.first, theirs.first, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.observation, theirs.observation, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.reward, theirs.reward, rtol=1e-9, atol=1e-9)
    assert (theirs.reward >= 0).all() or pair.counterpart.unlimited
    assert (theirs.reward <= 1).all()
    assert np.ptp(theirs.reward) > 0


def test_the_first_steps_of_episodes(pair):
    """Through both environments as they are used, in float32 on our side."""
    theirs, ours = pair.episodes(steps=100)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_beginnings_have_one_distribution(pair):
    assert two_sample_p(pair.our_starts(), pair.their_starts()) > SMALLEST_P


def test_the_clock(pair):
    assert pair.task.control_dt == pytest.approx(pair.reference.control_timestep())
    if not pair.counterpart.unlimited:
        assert pair.length() == (pair.envs.max_episode_steps, True)
    assert pair.envs.max_episode_steps == 1000


def test_the_actions(pair):
    spec, space = pair.reference.action_spec(), pair.task.action_space()
    assert space.shape == spec.shape
    if pair.counterpart.unlimited:
        assert (spec.minimum < space.low).all()
        assert (space.high < spec.maximum).all()
    else:
        np.testing.assert_array_equal(space.low, spec.minimum.astype(np.float32))
        np.testing.assert_array_equal(space.high, spec.maximum.astype(np.float32))
