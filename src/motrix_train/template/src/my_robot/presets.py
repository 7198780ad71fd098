"""How `motrix-train` trains each environment; `motrix-train show MyRobot/Drive-v0` shows every field."""

from motrix_train.config import PPOCfg

PRESETS = {
    "MyRobot/Drive-v0": PPOCfg(
        num_envs=64,
        max_env_steps=614_400,
        check_point_interval=960,
        policy_hidden_layer_sizes=(32, 32),
        value_hidden_layer_sizes=(32, 32),
        initial_log_std=-0.5,
        rollouts=32,
        learning_rate=1e-3,
    )
}
