"""A configuration is checked when it is made, and every mistake names the value and the remedy."""

import ast
import dataclasses
import inspect
import itertools
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motrix_train import presets
from motrix_train.config import AlgorithmName, PPOCfg, SACCfg, from_json, to_json
from motrix_train.errors import UsageError
from motrix_train.settings import changed

FIELDS_OF_THE_FACTS = {
    "seed",
    "num_envs",
    "play_num_envs",
    "max_env_steps",
    "check_point_interval",
    "policy_hidden_layer_sizes",
    "value_hidden_layer_sizes",
    "share_policy_value_features",
    "rollouts",
    "learning_epochs",
    "mini_batches",
    "discount_factor",
    "gae_lambda",
    "learning_rate",
    "learning_rate_scheduler_kl_threshold",
    "random_timesteps",
    "learning_starts",
    "grad_norm_clip",
    "time_limit_bootstrap",
    "ratio_clip",
    "value_clip",
    "clip_predicted_values",
    "entropy_loss_scale",
    "value_loss_scale",
    "kl_threshold",
    "rewards_shaper_scale",
}


def test_every_field_is_there_and_says_what_it_is():
    assert {field.name for field in dataclasses.fields(PPOCfg)} >= FIELDS_OF_THE_FACTS
    body = ast.parse(inspect.getsource(PPOCfg)).body[0].body
    for node, after in itertools.pairwise(body):
        if isinstance(node, ast.AnnAssign):
            assert isinstance(after, ast.Expr), ast.unparse(node)
            assert isinstance(after.value, ast.Constant), ast.unparse(node)


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PPOCfg().rollouts = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("env_id", "algorithm"),
    [(env_id, "ppo") for env_id in presets.preset_ids()] + [(env_id, "sac") for env_id in presets.preset_ids("sac")],
)
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_presets_are_whole(env_id: str, algorithm: AlgorithmName, backend: str):
    cfg = presets.preset(env_id, backend, algorithm)
    assert cfg == presets.preset(f"motrix_gym:{env_id}", backend, algorithm)
    assert cfg.algorithm == algorithm
    assert cfg.max_batch_env_steps % cfg.check_point_interval == 0
    assert cfg.max_batch_env_steps * cfg.num_envs <= cfg.max_env_steps
    assert from_json(json.loads(json.dumps(to_json(cfg)))) == cfg


def test_an_environment_without_a_preset_has_the_defaults():
    assert presets.preset("Elsewhere/Robot-v0", "torch") == PPOCfg()
    assert presets.preset("Elsewhere/Robot-v0", "torch", "sac") == SACCfg()


def test_settings_choose_the_preset_of_their_algorithm():
    env_id = "Motrix/Pendulum-v0"
    assert presets.configured(env_id, "torch", {}) == presets.preset(env_id, "torch")
    assert presets.configured(env_id, "torch", {"algorithm": "sac"}) == presets.preset(env_id, "torch", "sac")
    changed_one = presets.configured(env_id, "torch", {"algorithm": "sac", "batch_size": "64"})
    assert changed_one == dataclasses.replace(presets.preset(env_id, "torch", "sac"), batch_size=64)


@pytest.mark.parametrize(
    ("max_env_steps", "num_envs", "interval", "expected"),
    [
        (10_000_000, 2048, 500, 4500),
        (61_440_000, 2048, 1000, 30_000),
        (50_000_000, 1024, 5000, 45_000),
        (1, 2048, 7, 7),
    ],
)
def test_budget_in_vector_steps(max_env_steps: int, num_envs: int, interval: int, expected: int):
    cfg = PPOCfg(max_env_steps=max_env_steps, num_envs=num_envs, check_point_interval=interval)
    assert cfg.max_batch_env_steps == expected


@given(st.integers(1, 10**9), st.integers(1, 4096).map(lambda n: 4 * n), st.integers(1, 10_000))
def test_budget_is_whole_intervals_and_never_nothing(max_env_steps: int, num_envs: int, interval: int):
    cfg = PPOCfg(max_env_steps=max_env_steps, num_envs=num_envs, check_point_interval=interval)
    steps = cfg.max_batch_env_steps
    assert steps >= interval
    assert steps % interval == 0
    assert steps == interval or steps * num_envs <= max_env_steps < (steps + interval) * num_envs


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_envs", 0, "num_envs is 0; it takes a whole number from 1 to"),
        ("num_envs", -4, "num_envs is -4"),
        ("num_envs", 3.0, r"num_envs is 3\.0; it takes a whole number"),
        ("rollouts", True, "rollouts is True; it takes a whole number"),
        ("learning_rate", 0.0, r"learning_rate is 0\.0; it takes a number above 0"),
        ("learning_rate", float("nan"), "learning_rate is nan; it takes a finite number"),
        ("learning_rate", 10**400, "learning_rate is 1000.*; it takes a finite number"),
        ("learning_rate", "fast", "learning_rate is 'fast'"),
        ("discount_factor", 1.5, r"discount_factor is 1\.5; it takes a number from 0 to 1"),
        ("policy_hidden_layer_sizes", (), "policy_hidden_layer_sizes is .*of a length from 1 to 16"),
        ("policy_hidden_layer_sizes", (64, 0), r"policy_hidden_layer_sizes\[1\] is 0"),
        ("value_hidden_layer_sizes", [64], r"value_hidden_layer_sizes is \[64\]; it takes a tuple"),
        ("activation", "gelu", "activation is 'gelu'; it takes one of 'elu', 'relu', 'tanh'"),
        ("mirror", "both", "mirror is 'both'; it takes one of"),
        ("seed", -1, "seed is -1; it takes a whole number from 0 to .* or none"),
        ("random_timesteps", 10, "random_timesteps 10 .* give 0"),
        ("learning_starts", 1, "learning_starts 1 .* give 0"),
        ("time_limit_bootstrap", 1, "time_limit_bootstrap is 1; it takes true or false"),
        ("initial_log_std", 3.0, r"initial_log_std 3\.0 is not between"),
        (
            "mini_batches",
            7,
            r"rollouts 24 \* num_envs 1024 = 24576 .*mini_batches 7 .*mini_batches 6 or mini_batches|6 or 8",
        ),
    ],
)
def test_a_bad_value_is_refused_by_name(field: str, value: object, message: str):
    with pytest.raises(UsageError, match=message):
        replace(PPOCfg(), **{field: value})


def test_shared_features_need_equal_layers():
    with pytest.raises(UsageError, match=r"\(256, 128, 64\).*\(32,\)"):
        PPOCfg(share_policy_value_features=True, value_hidden_layer_sizes=(32,))


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("32", "rollouts", 32),
        ("8e6", "max_env_steps", 8_000_000),
        ("8_000_000", "max_env_steps", 8_000_000),
        ("1e-3", "learning_rate", 1e-3),
        ("1", "learning_rate", 1.0),
        ("256,128", "policy_hidden_layer_sizes", (256, 128)),
        ("(64,)", "policy_hidden_layer_sizes", (64,)),
        ("[64, 32]", "policy_hidden_layer_sizes", (64, 32)),
        ("False", "clip_predicted_values", False),
        ("none", "seed", None),
        ("7", "seed", 7),
        ("tanh", "activation", "tanh"),
    ],
)
def test_a_setting_reads_text_by_the_type_of_the_field(text: str, field: str, value: object):
    read = getattr(changed(PPOCfg(), {field: text}), field)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(("text", "value"), [("-0.5", -0.5), ("-1", -1.0), ("none", None)])
def test_a_number_that_may_be_absent_is_read_from_text(text: str, value: float | None):
    assert changed(SACCfg(target_entropy=1.0), {"target_entropy": text}).target_entropy == value


def test_text_that_is_no_such_number_is_refused():
    with pytest.raises(UsageError, match=r"target_entropy=low cannot be read: give .*none"):
        changed(SACCfg(), {"target_entropy": "low"})


def test_settings_are_judged_together():
    cfg = changed(PPOCfg(), {"num_envs": "7", "rollouts": "3", "mini_batches": "7"})
    assert (cfg.num_envs, cfg.rollouts, cfg.mini_batches) == (7, 3, 7)


@given(num_envs=st.integers(1, 40), rollouts=st.integers(1, 40), mini_batches=st.integers(1, 2000))
def test_mini_batches_of_one_step_are_refused_and_never_advised(num_envs: int, rollouts: int, mini_batches: int):
    asked = {"num_envs": num_envs, "rollouts": rollouts, "mini_batches": mini_batches}
    try:
        cfg = PPOCfg(**asked)
    except UsageError as refusal:
        for advised in re.findall(r"mini_batches (\d+) (?:or|would)", str(refusal)):
            if num_envs * rollouts > 1:
                PPOCfg(**{**asked, "mini_batches": int(advised)})
        return
    assert num_envs * rollouts // cfg.mini_batches >= 2


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (("rollout", "3"), "unknown setting 'rollout'; did you mean 'rollouts'"),
        (("rollouts", "many"), "rollouts=many cannot be read: give a whole number"),
        (("rollouts", "2.5"), r"rollouts=2\.5 cannot be read"),
        (("rollouts", "inf"), "rollouts=inf cannot be read"),
        (("clip_predicted_values", "maybe"), "give true or false"),
        (("policy_hidden_layer_sizes", "a,b"), "give whole numbers such as"),
        (("learning_rate", ""), "give a finite number"),
    ],
)
def test_a_bad_setting_is_refused_by_name(assignment: tuple[str, str], message: str):
    with pytest.raises(UsageError, match=message):
        changed(PPOCfg(), dict([assignment]))


def test_a_saved_configuration_with_an_unknown_field_is_refused():
    with pytest.raises(UsageError, match="unknown setting 'lambda'"):
        from_json({"lambda": 0.95})
