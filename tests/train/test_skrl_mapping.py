"""Every field of SKRL's PPO configuration follows from the PPOCfg, and nothing is shared between agents."""

import dataclasses
import importlib
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from motrix_train.config import PPOCfg
from motrix_train.learning import skrl_mapping

CFG = PPOCfg(
    num_envs=32,
    rollouts=6,
    learning_epochs=7,
    mini_batches=8,
    discount_factor=0.9,
    gae_lambda=0.8,
    learning_rate=2e-3,
    learning_rate_scheduler_kl_threshold=0.02,
    grad_norm_clip=0.7,
    ratio_clip=0.15,
    value_clip=0.25,
    entropy_loss_scale=0.01,
    value_loss_scale=1.5,
    kl_threshold=0.5,
)


@pytest.fixture(params=["torch", "jax"])
def skrl(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The classes of SKRL for one backend."""
    name = request.param
    pytest.importorskip(name)
    agents = importlib.import_module(f"skrl.agents.{name}")
    ppo = importlib.import_module(f"skrl.agents.{name}.ppo")
    memory = importlib.import_module(f"skrl.memories.{name}").RandomMemory
    normalizer = importlib.import_module(f"skrl.resources.preprocessors.{name}").RunningStandardScaler
    scheduler = importlib.import_module(f"skrl.resources.schedulers.{name}").KLAdaptiveLR
    return SimpleNamespace(
        ppo=ppo.PPO,
        memory=memory,
        ppo_cfg=ppo.PPO_CFG,
        experiment=agents.ExperimentCfg,
        normalizer=normalizer,
        scheduler=scheduler,
    )


def mapped(skrl: SimpleNamespace, cfg: PPOCfg, ppo_cfg: type | None = None):
    return skrl_mapping.ppo_cfg(
        cfg,
        skrl_mapping.SkrlClasses(
            skrl.ppo, skrl.memory, ppo_cfg or skrl.ppo_cfg, skrl.experiment, skrl.normalizer, skrl.scheduler
        ),
        observation_normalizer_kwargs={"size": 3},
        value_normalizer_kwargs={"size": 1},
    )


def test_values(skrl: SimpleNamespace):
    values = {field.name: getattr(mapped(skrl, CFG), field.name) for field in dataclasses.fields(skrl.ppo_cfg)}
    experiment = values.pop("experiment")
    assert (experiment.write_interval, experiment.checkpoint_interval, experiment.wandb) == (0, 0, False)
    assert values.pop("mixed_precision", False) is False
    assert values == {
        "rollouts": 6,
        "learning_epochs": 7,
        "mini_batches": 8,
        "discount_factor": 0.9,
        "gae_lambda": 0.8,
        "learning_rate": 2e-3,
        "learning_rate_scheduler": skrl.scheduler,
        "learning_rate_scheduler_kwargs": {
            "kl_threshold": 0.02,
            "min_lr": 1e-6,
            "max_lr": 1e-2,
            "kl_factor": 2.0,
            "lr_factor": 1.5,
        },
        "observation_preprocessor": skrl.normalizer,
        "observation_preprocessor_kwargs": {"epsilon": 1e-8, "clip_threshold": 5.0, "size": 3},
        "state_preprocessor": None,
        "state_preprocessor_kwargs": {},
        "value_preprocessor": skrl.normalizer,
        "value_preprocessor_kwargs": {"epsilon": 1e-8, "clip_threshold": 5.0, "size": 1},
        "grad_norm_clip": 0.7,
        "ratio_clip": 0.15,
        "value_clip": 0.25,
        "entropy_loss_scale": 0.01,
        "value_loss_scale": 1.5,
        "kl_threshold": 0.5,
        "time_limit_bootstrap": True,
        "rewards_shaper": None,
    }


def test_every_field_is_set_explicitly(skrl: SimpleNamespace):
    class Recording(skrl.ppo_cfg):
        def __init__(self, **given):
            self.given = given

    given = mapped(skrl, CFG, Recording).given
    assert set(given) == {field.name for field in dataclasses.fields(skrl.ppo_cfg)}
    assert set(vars(given["experiment"])) == {field.name for field in dataclasses.fields(skrl.experiment)}


def test_a_fresh_object_on_every_call(skrl: SimpleNamespace):
    first, second = mapped(skrl, CFG), mapped(skrl, CFG)
    first.expand()  # as an agent does
    first.observation_preprocessor_kwargs["size"] = 99
    assert second.learning_rate == CFG.learning_rate
    assert second.observation_preprocessor_kwargs["size"] == 3


def test_what_is_switched_off(skrl: SimpleNamespace):
    off = mapped(skrl, replace(CFG, learning_rate_scheduler_kl_threshold=0.0, clip_predicted_values=False))
    assert off.learning_rate_scheduler is None
    assert off.learning_rate_scheduler_kwargs == {}
    assert off.value_clip == 0.0


def test_rewards_are_scaled(skrl: SimpleNamespace):
    assert mapped(skrl, replace(CFG, rewards_shaper_scale=0.1)).rewards_shaper(20.0, 0, 0) == pytest.approx(2.0)


def test_no_framework_is_imported_before_it_is_chosen():
    code = """
import importlib, pkgutil, sys, motrix_train
for module in pkgutil.walk_packages(motrix_train.__path__, "motrix_train."):
    parts = module.name.split(".")
    if not {"torch", "jax"} & {*parts[:-1]} and parts[-1] != "__main__":
        importlib.import_module(module.name)
heavy = {"torch", "jax", "flax", "skrl", "tensorboard"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
