"""The tuned configuration of each environment and algorithm: here those of PPO, differences from `PPOCfg`."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from motrix_train.config import AlgorithmName, BaseRLCfg, PPOCfg, SACCfg
from motrix_train.environment import without_module
from motrix_train.presets import sac
from motrix_train.presets.installed import InstalledPreset, installed_presets
from motrix_train.settings import changed

__all__ = ["algorithms", "configured", "packages", "preset", "preset_ids"]

PACKAGE = "motrix-gym"

CARTPOLE = PPOCfg(
    num_envs=256,
    max_env_steps=400_000,
    check_point_interval=320,
    policy_hidden_layer_sizes=(32, 32),
    value_hidden_layer_sizes=(32, 32),
    initial_log_std=0.0,
    rollouts=32,
    learning_epochs=5,
    mini_batches=4,
    learning_rate=1e-3,
    staggered_starts=False,
)

LEGGED = PPOCfg(
    num_envs=256,
    max_env_steps=5_000_000,
    check_point_interval=960,
    policy_hidden_layer_sizes=(128, 128),
    value_hidden_layer_sizes=(128, 128),
    initial_log_std=-1.0,
    mirror="policy",
    rollouts=32,
    learning_epochs=5,
    mini_batches=4,
    discount_factor=0.985,
    learning_rate=1e-3,
    learning_rate_scheduler_kl_threshold=0.012,
    entropy_loss_scale=0.003,
    staggered_starts=False,
)

SKILL = replace(LEGGED, max_env_steps=8_000_000, entropy_loss_scale=0.008, staggered_starts=True)

COSTLY_FALLS = {"reward_weights": {"termination": -100.0}}

PUSHES = {**COSTLY_FALLS, "push_speed": 0.7, "push_interval": [2.0, 4.0]}

GO1 = replace(
    LEGGED, max_env_steps=4_200_000, evaluation_interval=75, entropy_loss_scale=0.001, training_env=COSTLY_FALLS
)

ROUGH = replace(LEGGED, max_env_steps=12_000_000, training_env={"terrain_curriculum": True, **COSTLY_FALLS})

G1 = replace(
    LEGGED,
    max_env_steps=6_000_000,
    policy_hidden_layer_sizes=(256, 128),
    value_hidden_layer_sizes=(256, 128),
    entropy_loss_scale=0.005,
    training_env={"push_speed": 0.5, "push_interval": [2.0, 4.0]},
)

MULTI_TASK = replace(LEGGED, max_env_steps=8_000_000)

SUITE = PPOCfg(
    num_envs=256,
    max_env_steps=3_000_000,
    check_point_interval=640,
    policy_hidden_layer_sizes=(64, 64),
    value_hidden_layer_sizes=(64, 64),
    rollouts=32,
    learning_epochs=5,
    mini_batches=4,
    discount_factor=0.995,
    learning_rate=1e-3,
    learning_rate_scheduler_kl_threshold=0.0,
    entropy_loss_scale=0.003,
)

DECIDED_EARLY = replace(SUITE, max_env_steps=5_000_000, training_env={"max_episode_steps": 200})

MOVER = replace(SUITE, policy_hidden_layer_sizes=(128, 128), value_hidden_layer_sizes=(128, 128))

ADAPTIVE = replace(MOVER, learning_rate_scheduler_kl_threshold=0.016, entropy_loss_scale=0.01)

TURN = replace(
    ADAPTIVE,
    max_env_steps=5_000_000,
    discount_factor=0.98,
    training_env={"max_episode_steps": 125, "control_dt": 0.06},
)

HOPPER = replace(
    ADAPTIVE,
    max_env_steps=6_000_000,
    discount_factor=0.98,
    training_env={"max_episode_steps": 125, "control_dt": 0.04, "stand_height": 0.8, "height_margin": 0.4},
)

HUMANOID = replace(
    ADAPTIVE,
    max_env_steps=4_000_000,
    policy_hidden_layer_sizes=(256, 128),
    value_hidden_layer_sizes=(256, 128),
    discount_factor=0.98,
    training_env={"max_episode_steps": 125, "control_dt": 0.05, "height_margin": 1.2},
)

QUADRUPED = replace(
    ADAPTIVE,
    max_env_steps=6_000_000,
    policy_hidden_layer_sizes=(256, 128),
    value_hidden_layer_sizes=(256, 128),
    initial_log_std=-0.5,
    discount_factor=0.99,
)

MANIPULATOR = replace(QUADRUPED, max_env_steps=20_000_000, training_env={"target_margin": 0.3})

LIFT_CUBE = replace(
    ADAPTIVE,
    num_envs=512,
    max_env_steps=7_000_000,
    initial_log_std=-0.5,
    discount_factor=0.9,
    entropy_loss_scale=0.005,
    rewards_shaper_scale=0.1,
    training_env={"in_hand_share": 0.2},
)

CABINET = replace(
    ADAPTIVE,
    num_envs=512,
    max_env_steps=5_000_000,
    initial_log_std=-0.5,
    mini_batches=8,
    discount_factor=0.98,
    entropy_loss_scale=0.003,
)

_PRESETS: dict[str, PPOCfg] = {
    "Motrix/CartPole-v0": CARTPOLE,
    "Motrix/CartPoleBalance-v0": replace(SUITE, discount_factor=0.99),
    "Motrix/CartPoleSwingup-v0": replace(
        SUITE, discount_factor=0.98, training_env={"max_episode_steps": 334, "control_dt": 0.03}
    ),
    "Motrix/Pendulum-v0": replace(
        SUITE, discount_factor=0.95, training_env={"max_episode_steps": 250, "height_margin": 2.0}
    ),
    "Motrix/Acrobot-v0": replace(SUITE, max_env_steps=10_000_000),
    "Motrix/PointMass-v0": SUITE,
    "Motrix/ReacherEasy-v0": replace(DECIDED_EARLY, discount_factor=0.97),
    "Motrix/ReacherHard-v0": DECIDED_EARLY,
    "Motrix/FingerSpin-v0": replace(SUITE, discount_factor=0.95),
    "Motrix/FingerTurnEasy-v0": TURN,
    "Motrix/FingerTurnHard-v0": TURN,
    "Motrix/CheetahRun-v0": replace(MOVER, max_env_steps=15_000_000),
    "Motrix/HopperStand-v0": HOPPER,
    "Motrix/HopperHop-v0": HOPPER,
    "Motrix/WalkerStand-v0": replace(MOVER, max_env_steps=3_000_000),
    "Motrix/WalkerWalk-v0": replace(MOVER, max_env_steps=4_000_000),
    "Motrix/WalkerRun-v0": replace(MOVER, max_env_steps=6_000_000),
    "Motrix/HumanoidStand-v0": HUMANOID,
    "Motrix/HumanoidWalk-v0": replace(HUMANOID, max_env_steps=20_000_000),
    "Motrix/HumanoidRun-v0": replace(HUMANOID, max_env_steps=20_000_000),
    "Motrix/BallInCup-v0": replace(SUITE, training_env={"target_margin": 0.4}),
    "Motrix/FishUpright-v0": MOVER,
    "Motrix/FishSwim-v0": replace(MOVER, max_env_steps=6_000_000),
    "Motrix/Swimmer6-v0": replace(MOVER, max_env_steps=6_000_000),
    "Motrix/Swimmer15-v0": replace(MOVER, max_env_steps=10_000_000),
    "Motrix/LQR2_1-v0": SUITE,
    "Motrix/LQR6_2-v0": SUITE,
    "Motrix/QuadrupedWalk-v0": QUADRUPED,
    "Motrix/QuadrupedRun-v0": replace(QUADRUPED, max_env_steps=5_000_000, training_env={"move_speed": 2.0}),
    "Motrix/QuadrupedFetch-v0": replace(QUADRUPED, max_env_steps=20_000_000),
    "Motrix/ManipulatorBringBall-v0": MANIPULATOR,
    "Motrix/ManipulatorBringPeg-v0": MANIPULATOR,
    "Motrix/ManipulatorInsertBall-v0": MANIPULATOR,
    "Motrix/ManipulatorInsertPeg-v0": MANIPULATOR,
    "Motrix/StackerStack2-v0": MANIPULATOR,
    "Motrix/StackerStack4-v0": MANIPULATOR,
    "Motrix/BounceBall-v0": replace(MOVER, max_env_steps=8_000_000, initial_log_std=-1.0, discount_factor=0.99),
    "Motrix/Go1-v0": GO1,
    "Motrix/Go1Rough-v0": ROUGH,
    "Motrix/Go1Stairs-v0": replace(ROUGH, max_env_steps=8_000_000, training_env={"terrain_curriculum": True}),
    "Motrix/Go1Getup-v0": SKILL,
    "Motrix/Go1Handstand-v0": SKILL,
    "Motrix/Go2-v0": replace(LEGGED, training_env=COSTLY_FALLS),
    "Motrix/Go2Rough-v0": ROUGH,
    "Motrix/AnymalC-v0": replace(
        LEGGED, max_env_steps=8_000_000, training_env={"command_interval": [2.0, 4.0], **PUSHES}
    ),
    "Motrix/AnymalCRough-v0": replace(ROUGH, training_env=ROUGH.training_env | PUSHES),
    "Motrix/G1-v0": G1,
    "Motrix/G1Full-v0": replace(G1, learning_rate_scheduler_kl_threshold=0.03),
    "Motrix/G1Rough-v0": replace(G1, max_env_steps=15_000_000, training_env={"terrain_curriculum": True}),
    "Motrix/AnymalCNavigation-v0": replace(LEGGED, max_env_steps=4_000_000, training_env={"max_episode_steps": 400}),
    "Motrix/FrankaLiftCube-v0": LIFT_CUBE,
    "Motrix/FrankaOpenCabinet-v0": CABINET,
    "Motrix/MultiTask-v0": MULTI_TASK,
}

_DEFAULTS: dict[str, BaseRLCfg] = {"ppo": PPOCfg(), "sac": SACCfg()}

_OWN: dict[tuple[str, str], BaseRLCfg] = {
    **{(env_id, "ppo"): cfg for env_id, cfg in _PRESETS.items()},
    **{(env_id, "sac"): cfg for env_id, cfg in sac.PRESETS.items()},
}

_OF_ONE_BACKEND: dict[tuple[str, str, str], BaseRLCfg] = {
    ("Motrix/Go1-v0", "ppo", "jax"): replace(LEGGED, max_env_steps=8_000_000),
}


def configured(env_id: str, backend: str, settings: Mapping[str, Any]) -> BaseRLCfg:
    """The preset of an environment, for the algorithm that the settings name, with changes.

    Args:
        env_id: As in `preset`.
        backend: As in `preset`.
        settings: Fields of the configuration, as values or as text. Without ``algorithm`` they are PPO's.

    Raises:
        UsageError: There is no such field, it does not take the value, or it does not go with another one.
    """
    algorithm = "sac" if BaseRLCfg.class_of(settings) is SACCfg else "ppo"
    return changed(preset(env_id, backend, algorithm), settings)


def preset(env_id: str, backend: str, algorithm: AlgorithmName = "ppo") -> BaseRLCfg:
    """The tuned configuration for an environment; the defaults of the algorithm where there is none.

    Args:
        env_id: A registered id, with or without the ``module:`` prefix.
        backend: ``"torch"`` or ``"jax"``; the two differ only where they must.
        algorithm: What trains.
    """
    name = without_module(env_id)
    other = _installed().get((name, algorithm))
    if other:
        return other.cfg
    of_any_backend = _OWN.get((name, algorithm), _DEFAULTS[algorithm])
    return _OF_ONE_BACKEND.get((name, algorithm, backend), of_any_backend)


def preset_ids(algorithm: AlgorithmName = "ppo") -> list[str]:
    """The ids that have a preset of an algorithm here, in the order of the table."""
    return [env_id for env_id, name in _OWN if name == algorithm]


def algorithms(env_id: str) -> list[str]:
    """The algorithms that have a preset for an id."""
    return [algorithm for name, algorithm in [*_OWN, *_installed()] if name == without_module(env_id)]


def packages() -> dict[str, str]:
    """The package that the presets of an id are from, by id: those of this package first."""
    own = dict.fromkeys((env_id for env_id, _ in _OWN), PACKAGE)
    others = {env_id: other.package for (env_id, _), other in _installed().items()}
    return own | others | own


@functools.cache
def _installed() -> dict[tuple[str, str], InstalledPreset]:
    return installed_presets(_OWN, PACKAGE)
