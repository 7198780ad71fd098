"""The tuned configurations of SAC: differences from the defaults of `SACCfg`.

Budgets are whole checkpoint intervals: 16 000 env steps each, those of the humanoids 64 000.
"""

from dataclasses import replace

from motrix_train.config import SACCfg

SUITE = SACCfg(
    num_envs=16,
    check_point_interval=1000,
    evaluation_interval=125,
    policy_hidden_layer_sizes=(128, 128),
    value_hidden_layer_sizes=(128, 128),
    discount_factor=0.98,
    learning_rate=1e-3,
    random_timesteps=100,
    learning_starts=100,
    n_steps=3,
)

HUMANOID = SACCfg(
    num_envs=32,
    max_env_steps=1_024_000,
    check_point_interval=2000,
    evaluation_interval=500,
    evaluation_episodes=32,
    rollouts=2,
    discount_factor=0.98,
    learning_rate=5e-4,
    random_timesteps=100,
    learning_starts=100,
    updates_per_env_step=0.25,
    memory_size=1_000_000,
    training_env={"max_episode_steps": 250, "control_dt": 0.05},
)

REACHER = replace(SUITE, max_env_steps=48_000, training_env={"max_episode_steps": 100, "control_dt": 0.04})

HOPPER = replace(
    SUITE,
    max_env_steps=640_000,
    evaluation_interval=500,
    evaluation_episodes=32,
    target_entropy=-4.0,
    training_env={"max_episode_steps": 125, "control_dt": 0.04, "stand_height": 0.8, "height_margin": 0.4},
)

SWIMMER = replace(
    SUITE,
    max_env_steps=512_000,
    evaluation_interval=500,
    evaluation_episodes=32,
    target_entropy=-5.0,
    training_env={"max_episode_steps": 250},
)

PRESETS: dict[str, SACCfg] = {
    "Motrix/CartPoleSwingup-v0": replace(
        SUITE, max_env_steps=48_000, training_env={"max_episode_steps": 334, "control_dt": 0.03}
    ),
    "Motrix/Pendulum-v0": replace(
        SUITE,
        max_env_steps=64_000,
        discount_factor=0.99,
        training_env={"max_episode_steps": 250, "height_margin": 2.0},
    ),
    "Motrix/Acrobot-v0": replace(
        SUITE,
        max_env_steps=128_000,
        n_steps=1,
        discount_factor=0.99,
        training_env={"max_episode_steps": 250, "control_dt": 0.04, "target_margin": 2.5},
    ),
    "Motrix/FingerTurnHard-v0": replace(
        SUITE, max_env_steps=384_000, training_env={"max_episode_steps": 125, "control_dt": 0.06}
    ),
    "Motrix/ReacherEasy-v0": REACHER,
    "Motrix/ReacherHard-v0": REACHER,
    "Motrix/CheetahRun-v0": replace(
        SUITE,
        max_env_steps=640_000,
        evaluation_interval=250,
        evaluation_episodes=16,
        policy_hidden_layer_sizes=(256, 256),
        value_hidden_layer_sizes=(256, 256),
        n_steps=1,
        training_env={"max_episode_steps": 250, "control_dt": 0.02},
    ),
    "Motrix/HopperStand-v0": HOPPER,
    "Motrix/HopperHop-v0": HOPPER,
    "Motrix/Swimmer6-v0": replace(SWIMMER, discount_factor=0.99),
    "Motrix/FishSwim-v0": replace(SWIMMER, max_env_steps=1_536_000),
    "Motrix/HumanoidStand-v0": HUMANOID,
    "Motrix/HumanoidWalk-v0": HUMANOID,
    "Motrix/HumanoidRun-v0": HUMANOID,
}
