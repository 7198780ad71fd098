"""The plan of a curriculum: stages that are trained one after another, each from the policy of the one before.

A plan is a TOML file, which may begin with the stages of another. All mistakes are found before anything is trained.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from gymnasium.vector import VectorEnv

from motrix_gym.fields import Length, nearest, short
from motrix_train import config, environment, presets, schema, toml_file
from motrix_train.config import BackendName, BaseRLCfg, PPOCfg
from motrix_train.curriculum.condition import Condition
from motrix_train.errors import UsageError, within
from motrix_train.learning.backend import select
from motrix_train.learning.transfer import fit
from motrix_train.storage.progress_table import flat
from motrix_train.training.agents import fresh_agent
from motrix_train.training.records import RolloutStats

QUANTITIES = ("env_steps", "mean_return", "mean_episode_length", "episodes", "policy_std", "learning_rate")
"""Columns of `progress.csv` that a condition may name for any task. None of them depends on the clock, so that a
resumed run ends where an uninterrupted one does."""
EVALUATED = ("mean_return", "standard_error", "mean_length")
GO_ON: Literal["go_on"] = "go_on"
STOP: Literal["stop"] = "stop"

_PLAN_KEYS = {
    "begins_with": ((str,), 'the path of another plan, as in "walk.toml"'),
    "backend": ((str,), "torch, jax or auto"),
    "seed": ((int,), "a whole number from 0"),
    "defaults": ((dict,), "a table of keys that all stages share"),
    "stages": ((list,), "tables, written [[stages]]"),
}
_STAGE_KEYS = {
    "name": ((str,), "a text"),
    "env_id": ((str,), 'an environment id, as in "Motrix/Go1-v0"'),
    "env": ((dict,), "a table of fields of the task"),
    "set": ((dict,), "a table of fields of the configuration"),
    "max_env_steps": ((int, float), "a whole number from 1"),
    "advance_when": ((str, list), 'a condition, as in "mean_return >= 20", or a list of them'),
    "otherwise": ((str,), f'"{GO_ON}" or "{STOP}"'),
    "partial": ((bool,), "true or false"),
}
_ELSEWHERE = {"seed": "give the plan's own seed", "max_env_steps": "give the stage's own max_env_steps"}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training of a curriculum.

    Attributes:
        name: Names its directory and its line in the report.
        env_id: Registered id.
        env_kwargs: Fields of the task.
        cfg: How to train, with its seed and its budget.
        advance_when: The stage ends as soon as all of these hold after the same rollout; without any it uses its
            whole budget.
        otherwise: If the budget is used up first, "go_on" to the next stage or "stop" the curriculum.
        partial: Whether layers that do not fit the policy of the previous stage start untrained.
    """

    name: str
    env_id: str
    env_kwargs: dict[str, Any]
    cfg: BaseRLCfg
    advance_when: tuple[Condition, ...] = ()
    otherwise: Literal["go_on", "stop"] = GO_ON
    partial: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w-]*", self.name, re.ASCII):
            raise UsageError(f"name {short(self.name)} cannot name a directory: give letters, digits, _ and -")

    def is_passed(self, line: Mapping[str, float]) -> bool:
        """Whether a line of progress meets its conditions."""
        return bool(self.advance_when) and all(condition.holds(line) for condition in self.advance_when)

    def goal(self, stats: RolloutStats) -> bool:
        """Whether the statistics of a rollout meet its conditions."""
        return self.is_passed(dict(flat(asdict(stats))))

    @property
    def condition(self) -> str:
        """Its conditions as text, empty without any."""
        return " and ".join(map(str, self.advance_when))


@dataclass(frozen=True)
class Plan:
    """A whole curriculum.

    Attributes:
        name: Names its directory.
        backend: "torch" or "jax".
        stages: In their order, at least one.
    """

    name: str
    backend: BackendName
    stages: Annotated[tuple[Stage, ...], Length(1)]

    def __post_init__(self) -> None:
        names = [stage.name.lower() for stage in self.stages]
        for position, stage in enumerate(self.stages):
            if stage.name.lower() in names[:position]:
                raise UsageError(f"stage {stage.name!r}: there is another stage of this name: give each its own")

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Reads the plan in a TOML file, and those that it begins with.

        Raises:
            UsageError: There is no such file, or a plan has a mistake.
            RunError: A file cannot be read.
        """
        return cls._read(path, ())

    @classmethod
    def _read(cls, path: Path, outer: tuple[Path, ...]) -> Plan:
        """The plan in a file, with which the outer ones begin."""
        table = toml_file.read(path, "plan", "give a TOML file, such as examples/go1_curriculum.toml")
        here = path.resolve()
        with within(str(path)):
            if here in outer:
                raise UsageError("it begins with itself: take begins_with out of one of these plans")
            _require_keys(table, _PLAN_KEYS)
            first = cls._read(path.parent / table["begins_with"], (*outer, here)) if "begins_with" in table else None
            return cls._of(table, path.stem, first)

    @classmethod
    def _of(cls, table: Mapping[str, Any], name: str, first: Plan | None) -> Plan:
        """The plan in a table with known keys, after the stages of the first."""
        made = list(first.stages) if first else []
        seed = table.get("seed", made[0].cfg.seed if made else PPOCfg().seed)
        stages = table.get("stages", [])
        if seed < 0:
            raise UsageError(f"seed is {seed}; it takes {_PLAN_KEYS['seed'][1]}")
        if not stages:
            raise UsageError("it has no stage: write each as a table [[stages]] with a name")
        if not all(isinstance(stage, dict) for stage in stages):
            raise UsageError(f"stages takes {_PLAN_KEYS['stages'][1]}")
        defaults = table.get("defaults", {})
        with within("defaults"):
            _require_keys(defaults, {key: form for key, form in _STAGE_KEYS.items() if key != "name"})
        backend = select(table.get("backend", first.backend if first else "auto")).NAME
        if first and first.backend != backend:
            raise UsageError(f"backend is {backend}, but {first.name} has {first.backend}: leave backend out")
        for own in stages:
            with within(f"stage {own.get('name', len(made) + 1)!r}"):
                _require_keys(own, _STAGE_KEYS)
                made.append(_stage(environment.merged(defaults, own), backend))
        seeded = (replace(stage, cfg=replace(stage.cfg, seed=seed + k)) for k, stage in enumerate(made))
        return cls(name, backend, tuple(seeded))

    def to_json(self) -> dict[str, Any]:
        """The resolved plan as plain JSON."""
        stages = [
            asdict(stage) | {"cfg": config.to_json(stage.cfg), "advance_when": list(map(str, stage.advance_when))}
            for stage in self.stages
        ]
        return {"name": self.name, "backend": self.backend, "stages": stages}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """Reads a plan that `to_json` wrote.

        Raises:
            UsageError: A value in it is wrong.
        """
        return schema.build(cls, values, "plan.")

    def check(self, device: str | None = None) -> None:
        """Makes every stage's environment and agent, and checks that each policy fits the next stage.

        Args:
            device: Of the networks, None takes a GPU if there is one.

        Raises:
            UsageError: A stage cannot be made or does not fit the previous one, or a condition is wrong.
        """
        backend = select(self.backend)
        before = None
        for stage in self.stages:
            with (
                within(f"stage {stage.name!r}"),
                closing(environment.make_env(stage.env_id, 1, stage.env_kwargs)) as env,
            ):
                policy = backend.network_state(fresh_agent(env, stage.env_id, stage.cfg, backend, device))
                if before is not None:
                    fit(policy, before, partial=stage.partial)
                _require_quantities(stage, env)
                before = policy


def _stage(table: Mapping[str, Any], backend: str) -> Stage:
    """The stage in a table with known keys, not seeded yet."""
    for key in ("name", "env_id"):
        if key not in table:
            raise UsageError(f"{key} is missing: give {_STAGE_KEYS[key][1]}")
    env_id = table["env_id"]
    spec = environment.find_spec(env_id)
    settings = {"max_env_steps": table["max_env_steps"]} if "max_env_steps" in table else {}
    for field, value in table.get("set", {}).items():
        if field in _ELSEWHERE:
            raise UsageError(f"set.{field}: {_ELSEWHERE[field]}")
        settings[field] = value
    cfg = presets.configured(spec.id, backend, settings)
    env_kwargs = table.get("env", {})
    environment.require_task_fields(env_kwargs)
    otherwise = table.get("otherwise", GO_ON)
    if otherwise not in (GO_ON, STOP):
        raise UsageError(f"otherwise is {otherwise!r}; it takes {_STAGE_KEYS['otherwise'][1]}")
    return Stage(
        name=table["name"],
        env_id=env_id if ":" in env_id else spec.id,
        env_kwargs=env_kwargs,
        cfg=cfg,
        advance_when=_conditions(table.get("advance_when", [])),
        otherwise=otherwise,
        partial=table.get("partial", False),
    )


def _conditions(written: str | list[Any]) -> tuple[Condition, ...]:
    texts = [written] if isinstance(written, str) else written
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"advance_when holds {text!r}; it takes {_STAGE_KEYS['advance_when'][1]}")
    with within("advance_when"):
        return tuple(map(Condition.parse, texts))


def _require_keys(table: Mapping[str, Any], known: Mapping[str, tuple[tuple[type, ...], str]]) -> None:
    """Refuses an unknown key, and a value of another type."""
    for key, value in table.items():
        if key not in known:
            raise UsageError(f"unknown key {key!r}{nearest(key, known)}")
        types, words = known[key]
        if type(value) not in types:
            raise UsageError(f"{key} is {short(value)}; it takes {words}")


def _require_quantities(stage: Stage, env: VectorEnv) -> None:
    """Refuses a condition on a quantity that the training does not report."""
    known = _quantities(env, evaluated=stage.cfg.evaluation_interval > 0)
    for condition in stage.advance_when:
        if condition.quantity not in known:
            hint = nearest(condition.quantity, known)
            raise UsageError(f"advance_when names {condition.quantity}, which is not known here{hint}")


def _quantities(env: VectorEnv, evaluated: bool) -> list[str]:
    """The columns of `progress.csv` that a condition may name in this environment."""
    env.reset(seed=0)
    *_, infos = env.step(np.zeros(env.action_space.shape or (), np.float32))
    groups = {kind: _names(infos.get(kind, {})) for kind in ("metrics", "reward_terms")}
    if evaluated:
        success = ["success"] if "success" in infos else []
        groups["evaluation"] = [*EVALUATED, *success, *groups["metrics"]]
    return [*QUANTITIES, *(f"{group}/{name}" for group, names in groups.items() for name in names)]


def _names(values: Mapping[str, Any]) -> list[str]:
    return [name for name in values if not name.startswith("_")]  # the others are Gymnasium's masks
