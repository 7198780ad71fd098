"""The configuration of a training run: one frozen dataclass, checked when it is made.

A preset is a difference, ``replace(GO1, rollouts=32)``. Every mistake is a
[`UsageError`][motrix_train.errors.UsageError] that names the value and the remedy.
"""

import dataclasses
import difflib
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from motrix_train.errors import UsageError

Activation = Literal["elu", "relu", "tanh"]
MirrorUse = Literal["none", "policy", "policy_and_value"]
CriticInput = Literal["observation", "state"]


@dataclass(frozen=True, kw_only=True)
class PPOCfg:
    """How Proximal Policy Optimization trains one environment.

    Steps come in two units. A *vector step* steps every environment of the batch once; an *env step* is
    one environment stepped once, so a vector step is ``num_envs`` env steps.
    """

    seed: int | None = 42
    """Seed of the run, 0 or more; None draws one."""

    num_envs: int = 1024
    """Environments that are stepped together while training."""

    play_num_envs: int = 16
    """Environments shown by ``motrix-train play``."""

    max_env_steps: int = 10_000_000
    """Budget of the run, in env steps; see `max_batch_env_steps` for the rounding."""

    check_point_interval: int = 500
    """Vector steps between two checkpoints; each is written at the end of the rollout that reaches it."""

    check_points_kept: int = 5
    """How many of these checkpoints stay, the newest; ``best`` and ``last`` always stay."""

    evaluation_interval: int = 50
    """Updates between two evaluations of the policy, after which ``best`` is chosen; 0 never evaluates, and
    the run has no ``best``. The last policy is evaluated in any other case."""

    evaluation_episodes: int = 64
    """Whole episodes of one evaluation, on environments and seeds of its own."""

    policy_hidden_layer_sizes: tuple[int, ...] = (256, 128, 64)
    """Width of each hidden layer of the policy network."""

    value_hidden_layer_sizes: tuple[int, ...] = (256, 128, 64)
    """Width of each hidden layer of the value network."""

    critic: CriticInput = "observation"
    """What the value network sees: the observation, as the policy does, or the state, which tells more and is there in
    training only. A state is the observation and what its environment knows beside; only for environments that have
    one."""

    share_policy_value_features: bool = False
    """Whether policy and value are two heads on the same hidden layers. Torch only: SKRL gives the two
    networks of JAX an optimizer each, so there they stay separate. The hidden layer sizes must be equal."""

    activation: Activation = "elu"
    """Nonlinearity after every hidden layer."""

    initial_log_std: float = 0.0
    """Natural logarithm of the exploration noise at the start, in units of the action."""

    min_log_std: float = -20.0
    """Lower limit of the logarithm of the exploration noise."""

    max_log_std: float = 2.0
    """Upper limit of the logarithm of the exploration noise."""

    mirror: MirrorUse = "none"
    """What is made equivariant under the left-right mirror of the environment: nothing, the policy, or the
    policy and the value. Only for environments that say how they are mirrored."""

    rollouts: int = 24
    """Vector steps collected between two updates."""

    learning_epochs: int = 5
    """Passes over the collected steps in one update."""

    mini_batches: int = 4
    """Parts that the collected steps are split into, two steps or more each; must divide ``rollouts * num_envs``."""

    discount_factor: float = 0.99
    """Weight of a reward one step later, 0 to 1."""

    gae_lambda: float = 0.95
    """Lambda of generalized advantage estimation, 0 to 1."""

    learning_rate: float = 3e-4
    """Step size of Adam at the start."""

    learning_rate_scheduler_kl_threshold: float = 0.008
    """KL divergence between successive policies that the learning rate is adapted to; 0 keeps the rate."""

    staggered_starts: bool = True
    """Whether the first episode of each environment is cut, at moments spread over the time limit, so that the
    environments do not go through their episodes in step. Matters where most episodes last as long as the limit."""

    training_env: dict[str, Any] = field(default_factory=dict)
    """Fields of the environment that are different while training, as in ``{"max_episode_steps": 200}``, which
    shows more beginnings in the same number of steps, or a reward that is felt from farther off. Evaluations are
    of the environment itself. A field that is given for the environment holds for both, and of a table of fields,
    such as ``reward_weights``, those entries that are given."""

    random_timesteps: int = 0
    """Random actions before learning. SKRL 2 has no such phase, so only 0 is accepted."""

    learning_starts: int = 0
    """Steps before the first update. SKRL 2 has no such phase, so only 0 is accepted."""

    grad_norm_clip: float = 1.0
    """Largest norm of the gradient; 0 does not clip."""

    time_limit_bootstrap: bool = True
    """Whether a truncated episode goes on in thought, with the value of its true last observation. False
    treats the time limit as a termination."""

    ratio_clip: float = 0.2
    """Clip range of the probability ratio."""

    value_clip: float = 0.2
    """Clip range of a change of the (standardised) value; used if `clip_predicted_values`."""

    clip_predicted_values: bool = True
    """Whether the change of the value is clipped."""

    entropy_loss_scale: float = 0.0
    """Weight of the entropy bonus."""

    value_loss_scale: float = 2.0
    """Weight of the value loss."""

    kl_threshold: float = 0.0
    """KL divergence at which an epoch stops early; 0 never does."""

    rewards_shaper_scale: float = 1.0
    """Factor on every reward before learning. Logged returns are those of the environment."""

    def __post_init__(self) -> None:
        for name, expected in _types().items():
            _check_type(name, getattr(self, name), expected)
        self._check_ranges()
        self._check_combinations()

    @property
    def updates(self) -> int:
        """Updates of the run: as many whole rollouts as fit into `max_batch_env_steps`, at least one."""
        return max(1, self.max_batch_env_steps // self.rollouts)

    def env_steps(self, workers: int = 1) -> int:
        """Env steps that a run really takes with so many workers, all of them together."""
        return self.for_one_of(workers).updates * self.rollouts * self.num_envs * workers

    def for_one_of(self, workers: int) -> "PPOCfg":
        """What each of several equal workers does of it: the budget is that of all together."""
        return replace(self, max_env_steps=max(1, self.max_env_steps // workers))

    @property
    def max_batch_env_steps(self) -> int:
        """Vector steps of the run: a whole number of checkpoint intervals, never 0.

        ``max_env_steps / num_envs`` is rounded down to whole checkpoint intervals. A budget smaller than one
        interval is rounded up to one, so that a run always trains and always leaves a checkpoint.
        """
        intervals = self.max_env_steps // self.num_envs // self.check_point_interval
        return max(1, intervals) * self.check_point_interval

    def _check_ranges(self) -> None:
        at_least_one = ("num_envs", "play_num_envs", "max_env_steps", "check_point_interval", "rollouts")
        for name in (*at_least_one, "check_points_kept", "evaluation_episodes", "learning_epochs", "mini_batches"):
            self._require(name, getattr(self, name) >= 1, "give 1 or more")
        for name in ("policy_hidden_layer_sizes", "value_hidden_layer_sizes"):
            sizes = getattr(self, name)
            self._require(name, len(sizes) > 0 and min(sizes) >= 1, "give one width of 1 or more per layer")
        for name in ("discount_factor", "gae_lambda"):
            self._require(name, 0.0 <= getattr(self, name) <= 1.0, "give a number from 0 to 1")
        for name in ("learning_rate", "ratio_clip", "rewards_shaper_scale"):
            self._require(name, getattr(self, name) > 0.0, "give a number above 0")
        for name in (
            "evaluation_interval",
            "learning_rate_scheduler_kl_threshold",
            "grad_norm_clip",
            "value_clip",
            "entropy_loss_scale",
            "value_loss_scale",
            "kl_threshold",
        ):
            self._require(name, getattr(self, name) >= 0.0, "give 0 or more")
        self._require("seed", self.seed is None or self.seed >= 0, "give 0 or more, or none for a random one")
        for name in ("random_timesteps", "learning_starts"):
            self._require(name, getattr(self, name) == 0, "SKRL 2 has no such phase: give 0")

    def _check_combinations(self) -> None:
        if not self.min_log_std <= self.initial_log_std <= self.max_log_std:
            raise UsageError(
                f"initial_log_std {self.initial_log_std} is not between min_log_std {self.min_log_std} "
                f"and max_log_std {self.max_log_std}"
            )
        batch = self.rollouts * self.num_envs
        if batch % self.mini_batches:
            raise UsageError(
                f"rollouts {self.rollouts} * num_envs {self.num_envs} = {batch} steps do not split into "
                f"mini_batches {self.mini_batches} equal parts; {_divisors_near(batch, self.mini_batches)} would do"
            )
        if batch == self.mini_batches:
            fewer = f"mini_batches {_most_parts(batch)} or " if batch > 1 else ""
            raise UsageError(
                f"rollouts {self.rollouts} * num_envs {self.num_envs} = {batch} steps in mini_batches "
                f"{self.mini_batches} are one step each, which has no standard deviation: give {fewer}more num_envs"
            )
        if self.share_policy_value_features and (self.policy_hidden_layer_sizes != self.value_hidden_layer_sizes):
            raise UsageError(
                f"share_policy_value_features needs equal layers, but policy_hidden_layer_sizes are "
                f"{self.policy_hidden_layer_sizes} and value_hidden_layer_sizes {self.value_hidden_layer_sizes}"
            )
        if self.critic == "state" and self.share_policy_value_features:
            raise UsageError(
                "critic 'state' does not go with share_policy_value_features, whose layers see what the policy sees: "
                "give share_policy_value_features=false or critic=observation"
            )
        if self.critic == "state" and self.mirror == "policy_and_value":
            raise UsageError(
                "critic 'state' does not go with mirror 'policy_and_value', since only observations have a mirror "
                "image: give mirror=policy or critic=observation"
            )

    def _require(self, name: str, holds: bool, remedy: str) -> None:
        if not holds:
            raise UsageError(f"{name} {getattr(self, name)!r} is not possible: {remedy}")


def override(cfg: PPOCfg, assignments: Mapping[str, str]) -> PPOCfg:
    """Replace fields by values written as text, as in ``--set rollouts=32``.

    Args:
        cfg: What to start from.
        assignments: Field name to value; layer sizes are written ``256,128``.
    """
    changes = {}
    for name, text in assignments.items():
        if name not in _types():
            raise UsageError(f"unknown setting {name!r}{_nearest(name)}; `motrix-train show ENV` lists them all")
        changes[name] = _parse(name, text, _types()[name])
    return replace(cfg, **changes)


def to_json(cfg: PPOCfg) -> dict[str, Any]:
    """The fields as plain JSON values."""
    values = dataclasses.asdict(cfg)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def from_json(values: Mapping[str, Any]) -> PPOCfg:
    """The configuration that `to_json` wrote. Unknown fields are an error, absent ones keep their default."""
    unknown = sorted(set(values) - set(_types()))
    if unknown:
        raise UsageError(f"unknown setting {unknown[0]!r} in a saved configuration{_nearest(unknown[0])}")
    known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return PPOCfg(**known)


def _types() -> dict[str, Any]:
    """Field name -> its type."""
    return typing.get_type_hints(PPOCfg)


def _check_type(name: str, value: Any, expected: Any) -> None:
    if typing.get_origin(expected) is Literal:
        if value not in typing.get_args(expected):
            choices = ", ".join(map(repr, typing.get_args(expected)))
            raise UsageError(f"{name} {value!r} is unknown: give one of {choices}")
        return
    if expected == tuple[int, ...]:
        fits = isinstance(value, tuple) and all(type(width) is int for width in value)
    elif expected == dict[str, Any]:
        fits = isinstance(value, dict) and all(isinstance(name, str) for name in value)
    elif expected is float:
        fits = type(value) in (int, float) and math.isfinite(value)
    elif expected == int | None:
        fits = value is None or type(value) is int
    else:
        fits = type(value) is expected
    if not fits:
        raise UsageError(f"{name} {value!r} has the wrong type: give {_described(expected)}")


def _parse(name: str, text: str, expected: Any) -> Any:
    """The value that `text` means for a field of this type."""
    text = text.strip()
    if typing.get_origin(expected) is Literal:
        return text
    try:
        if expected is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if expected == int | None and text.lower() == "none":
            return None
        if expected == tuple[int, ...]:
            return tuple(_integer(width) for width in text.strip("()[]").split(",") if width.strip())
        if expected == dict[str, Any]:
            return json.loads(text)
        return float(text) if expected is float else _integer(text)
    except (ValueError, KeyError):
        raise UsageError(f"{name}={text} cannot be read: give {_described(expected)}") from None


def _integer(text: str) -> int:
    """An integer, also when written as 8e6."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)


def _described(expected: Any) -> str:
    if expected == tuple[int, ...]:
        return "integers such as 256,128,64"
    if expected == int | None:
        return "an integer or none"
    if expected == dict[str, Any]:
        return 'a JSON object such as {"max_episode_steps": 200}'
    return {int: "an integer", float: "a finite number", bool: "true or false"}[expected]


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, _types(), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _divisors_near(number: int, wanted: int) -> str:
    """The divisors of `number` next to `wanted` on both sides, with which each part has several."""
    most = _most_parts(number)
    below = next(n for n in range(min(wanted, most), 0, -1) if number % n == 0)
    above = next((n for n in range(wanted, most + 1) if number % n == 0), below)
    return f"mini_batches {below}" if below == above else f"mini_batches {below} or {above}"


def _most_parts(number: int) -> int:
    """The greatest divisor of `number` that leaves several in each part, 1 if there is none."""
    return next((n for n in range(number // 2, 0, -1) if number % n == 0), 1)
