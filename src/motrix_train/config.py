"""The configuration of a training run: one frozen dataclass, checked when it is made.

A preset is a difference, ``replace(GO1, rollouts=32)``. Every mistake is a
[`UsageError`][motrix_train.errors.UsageError] that names the value and the remedy.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

from motrix_gym.fields import Bound, Length, annotations_of, nearest, short
from motrix_train import schema
from motrix_train.errors import UsageError

BackendName = Literal["torch", "jax"]
AlgorithmName = Literal["ppo", "sac"]
Activation = Literal["elu", "relu", "tanh"]
MirrorUse = Literal["none", "policy", "policy_and_value"]
CriticInput = Literal["observation", "state"]
LayerSizes = Annotated[tuple[Annotated[int, Bound(1, 4096)], ...], Length(1, 16)]
"""Width of each hidden layer; sizes that no machine could hold are refused before anything is allocated."""


@dataclass(frozen=True, kw_only=True)
class BaseRLCfg:
    """What the trainings of all algorithms have in common.

    Steps come in two units. A *vector step* steps every environment of the batch once; an *env step* is
    one environment stepped once, so a vector step is ``num_envs`` env steps.
    """

    algorithm: AlgorithmName
    """What trains."""

    seed: Annotated[int, Bound(0, 2**63)] | None = 42
    """Seed of the run, 0 or more; None draws one."""

    num_envs: Annotated[int, Bound(1, 2**20)] = 1024
    """Environments that are stepped together while training."""

    play_num_envs: Annotated[int, Bound(1, 4096)] = 16
    """Environments shown by ``motrix-train play``."""

    max_env_steps: Annotated[int, Bound(1, 10**15)] = 10_000_000
    """Budget of the run, in env steps; see `max_batch_env_steps` for the rounding."""

    check_point_interval: Annotated[int, Bound(1, 10**12)] = 500
    """Checkpoint interval, in vector steps; a checkpoint is written at the end of the rollout that reaches it."""

    check_points_kept: Annotated[int, Bound(1, 10**9)] = 5
    """How many of these checkpoints stay, the newest; ``best`` and ``last`` always stay."""

    evaluation_interval: Annotated[int, Bound(0, 10**12)] = 50
    """Updates between two evaluations of the policy, after which ``best`` is chosen; 0 never evaluates, and
    the run has no ``best``. The last policy is evaluated in any other case."""

    evaluation_episodes: Annotated[int, Bound(1, 10**6)] = 64
    """Whole episodes of one evaluation, on environments and seeds of its own."""

    policy_hidden_layer_sizes: LayerSizes = (256, 128, 64)
    """Width of each hidden layer of the policy network."""

    value_hidden_layer_sizes: LayerSizes = (256, 128, 64)
    """Width of each hidden layer of the value network."""

    critic: CriticInput = "observation"
    """Input of the value network: the observation, as for the policy, or the state, which is the observation and
    privileged quantities. A policy needs no state, so that a state is necessary in training only. Only for
    environments that have one."""

    activation: Activation = "elu"
    """Nonlinearity after every hidden layer."""

    min_log_std: float = -20.0
    """Lower limit of the logarithm of the exploration noise."""

    max_log_std: float = 2.0
    """Upper limit of the logarithm of the exploration noise."""

    mirror: MirrorUse = "none"
    """What is made equivariant under the left-right mirror of the environment: nothing, the policy, or the
    policy and the value. Only for environments that say how they are mirrored."""

    rollouts: Annotated[int, Bound(1, 10**6)] = 24
    """Steps of each environment between two updates."""

    discount_factor: Annotated[float, Bound(0, 1)] = 0.99
    """Weight of a reward one step later, 0 to 1."""

    learning_rate: Annotated[float, Bound(0, above=True)] = 3e-4
    """Step size of Adam at the start."""

    grad_norm_clip: Annotated[float, Bound(0)] = 1.0
    """Largest norm of the gradient; 0 does not clip."""

    staggered_starts: bool = True
    """Whether the first episode of each environment is cut, at moments spread over the time limit, so that the
    environments do not go through their episodes in step. Matters where most episodes last as long as the limit."""

    training_env: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the environment in training only, as in ``{"max_episode_steps": 200}``, which gives more
    initial states in the same number of steps. Evaluations use the environment without them. A keyword argument that
    the user gives holds for both; of a table, such as ``reward_weights``, the entries that the user gives."""

    time_limit_bootstrap: bool = True
    """Whether to bootstrap from the value of the final observation when the time limit truncates an episode. False
    treats the time limit as a termination."""

    rewards_shaper_scale: Annotated[float, Bound(0, above=True)] = 1.0
    """Factor on every reward before learning. Logged returns are those of the environment."""

    @classmethod
    def class_of(cls, values: Any) -> type["BaseRLCfg"]:
        """The class of a configuration in JSON, by its ``algorithm``; without one it is PPO's.

        Raises:
            UsageError: There is no such algorithm.
        """
        if cls is not BaseRLCfg:
            return cls
        name = values.get("algorithm", "ppo") if isinstance(values, Mapping) else "ppo"
        if not isinstance(name, str) or name not in CONFIGURATIONS:
            raise UsageError(f"unknown algorithm {short(name)}{nearest(str(name), CONFIGURATIONS)}")
        return CONFIGURATIONS[name]

    def __post_init__(self) -> None:
        for name, (annotation, *_) in annotations_of(type(self)).items():
            schema.check(name, getattr(self, name), annotation)
        self._check_combinations()

    @property
    def updates(self) -> int:
        """Updates of the run: as many whole rollouts as fit into `max_batch_env_steps`, at least one."""
        return max(1, self.max_batch_env_steps // self.rollouts)

    def env_steps(self, workers: int = 1) -> int:
        """Env steps that all workers of a run take together, after rounding."""
        return self.for_one_of(workers).updates * self.rollouts * self.num_envs * workers

    def for_one_of(self: "AnyCfg", workers: int) -> "AnyCfg":
        """The configuration of each of several equal workers, which share the budget."""
        return replace(self, max_env_steps=max(1, self.max_env_steps // workers))

    @property
    def max_batch_env_steps(self) -> int:
        """Budget of the run, in vector steps: a whole number of checkpoint intervals, never 0.

        ``max_env_steps / num_envs`` is rounded down to whole checkpoint intervals. A budget smaller than one
        interval is rounded up to one, so that a run always trains and always leaves a checkpoint.
        """
        intervals = self.max_env_steps // self.num_envs // self.check_point_interval
        return max(1, intervals) * self.check_point_interval

    def _check_combinations(self) -> None:
        """Raises a UsageError where fields do not go together."""


AnyCfg = TypeVar("AnyCfg", bound=BaseRLCfg)


@dataclass(frozen=True, kw_only=True)
class PPOCfg(BaseRLCfg):
    """How Proximal Policy Optimization trains one environment, from each rollout once."""

    algorithm: Literal["ppo"] = "ppo"
    """What trains."""

    share_policy_value_features: bool = False
    """Whether policy and value are two heads on the same hidden layers. Torch only: SKRL gives the two
    networks of JAX an optimizer each, so there they stay separate. The hidden layer sizes must be equal."""

    initial_log_std: float = 0.0
    """Natural logarithm of the exploration noise at the start, in units of the action."""

    learning_epochs: Annotated[int, Bound(1, 10**6)] = 5
    """Passes over the collected steps in one update."""

    mini_batches: Annotated[int, Bound(1, 10**6)] = 4
    """Parts that the collected steps are split into, two steps or more each; must divide ``rollouts * num_envs``."""

    gae_lambda: Annotated[float, Bound(0, 1)] = 0.95
    """Lambda of generalized advantage estimation, 0 to 1."""

    learning_rate_scheduler_kl_threshold: Annotated[float, Bound(0)] = 0.008
    """KL divergence between successive policies that the learning rate is adapted to; 0 keeps the rate."""

    random_timesteps: int = 0
    """Random actions before learning. SKRL 2 has no such phase, so only 0 is accepted."""

    learning_starts: int = 0
    """Steps before the first update. SKRL 2 has no such phase, so only 0 is accepted."""

    ratio_clip: Annotated[float, Bound(0, above=True)] = 0.2
    """Clip range of the probability ratio."""

    value_clip: Annotated[float, Bound(0)] = 0.2
    """Clip range of a change of the (normalized) value; used if `clip_predicted_values`."""

    clip_predicted_values: bool = True
    """Whether the change of the value is clipped."""

    entropy_loss_scale: Annotated[float, Bound(0)] = 0.0
    """Weight of the entropy bonus."""

    value_loss_scale: Annotated[float, Bound(0)] = 2.0
    """Weight of the value loss."""

    kl_threshold: Annotated[float, Bound(0)] = 0.0
    """KL divergence at which an epoch stops early; 0 never does."""

    def _check_combinations(self) -> None:
        for name in ("random_timesteps", "learning_starts"):
            if getattr(self, name) != 0:
                raise UsageError(f"{name} {getattr(self, name)} is not possible: SKRL 2 has no such phase: give 0")
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


@dataclass(frozen=True, kw_only=True)
class SACCfg(BaseRLCfg):
    """How Soft Actor-Critic trains one environment, from the transitions of a replay memory.

    After each rollout an update makes `gradient_steps`, one for each ``1 / updates_per_env_step`` env steps, so what is
    learned from an env step does not depend on `num_envs`. Source: Haarnoja et al., "Soft Actor-Critic Algorithms and
    Applications", arXiv:1812.05905.
    """

    algorithm: Literal["sac"] = "sac"
    """What trains."""

    num_envs: Annotated[int, Bound(1, 2**20)] = 64
    """Environments that are stepped together while training."""

    max_env_steps: Annotated[int, Bound(1, 10**15)] = 500_000
    """Budget of the run, in env steps; see `max_batch_env_steps` for the rounding."""

    evaluation_interval: Annotated[int, Bound(0, 10**12)] = 200
    """Updates between two evaluations of the policy, after which ``best`` is chosen; 0 never evaluates, and
    the run has no ``best``. The last policy is evaluated in any other case."""

    policy_hidden_layer_sizes: LayerSizes = (256, 256)
    """Width of each hidden layer of the policy network."""

    value_hidden_layer_sizes: LayerSizes = (256, 256)
    """Width of each hidden layer of the two critics."""

    activation: Activation = "relu"
    """Nonlinearity after every hidden layer."""

    rollouts: Annotated[int, Bound(1, 10**6)] = 4
    """Steps of each environment between two updates."""

    grad_norm_clip: Annotated[float, Bound(0)] = 0.0
    """Largest norm of the gradient; 0 does not clip."""

    updates_per_env_step: Annotated[float, Bound(0, above=True)] = 0.5
    """Gradient steps for each env step."""

    batch_size: Annotated[int, Bound(2, 2**20)] = 256
    """Transitions that a gradient step learns from."""

    n_steps: Annotated[int, Bound(1, 1000)] = 1
    """Steps of an episode whose rewards a target of the critics sums, before what the target networks predict."""

    memory_size: Annotated[int, Bound(1, 10**9)] = 500_000
    """Transitions that the replay memory holds, the newest; rounded down to whole vector steps."""

    random_timesteps: Annotated[int, Bound(0, 10**12)] = 50
    """Vector steps at the start with actions that are uniform within their bounds."""

    learning_starts: Annotated[int, Bound(0, 10**12)] = 50
    """Vector steps before the first update."""

    polyak: Annotated[float, Bound(0, 1, above=True)] = 0.005
    """Share of the critics that their target networks take over in a gradient step."""

    layer_norm: bool = True
    """Whether each hidden layer of the critics is normalized over its neurons, before its nonlinearity."""

    learn_entropy: bool = True
    """Whether the entropy coefficient is adapted, so that the entropy of the policy comes to `target_entropy`."""

    initial_entropy_value: Annotated[float, Bound(0, above=True)] = 0.1
    """Entropy coefficient at the start: what a unit of entropy is worth, in units of the reward."""

    target_entropy: float | None = None
    """Entropy of the policy, of actions scaled to -1..1; None is minus half the number of actions."""

    min_log_std: float = -5.0
    """Lower limit of the logarithm of the exploration noise, before the tanh."""

    @property
    def gradient_steps(self) -> int:
        """Gradient steps of an update."""
        return round(self.updates_per_env_step * self.rollouts * self.num_envs)

    @property
    def memory_steps(self) -> int:
        """Vector steps that the replay memory holds."""
        return self.memory_size // self.num_envs

    def _check_combinations(self) -> None:
        if not self.min_log_std < self.max_log_std:
            raise UsageError(f"min_log_std {self.min_log_std} is not below max_log_std {self.max_log_std}")
        if self.mirror == "policy_and_value":
            raise UsageError("mirror 'policy_and_value' is not possible with SAC: give mirror=policy")
        if self.gradient_steps < 1:
            least = 0.5 / (self.rollouts * self.num_envs)
            raise UsageError(
                f"updates_per_env_step {self.updates_per_env_step:g} with rollouts {self.rollouts} * num_envs "
                f"{self.num_envs} is no gradient step in an update: give updates_per_env_step {2 * least:g} or more "
                "rollouts"
            )
        if self.memory_steps < self.rollouts:
            raise UsageError(
                f"memory_size {self.memory_size} is less than the {self.rollouts * self.num_envs} transitions of a "
                f"rollout: give at least that"
            )
        if self.batch_size > self.memory_steps * self.num_envs:
            raise UsageError(
                f"batch_size {self.batch_size} is more than the {self.memory_steps * self.num_envs} transitions that "
                f"memory_size {self.memory_size} holds: give a smaller batch_size or a greater memory_size"
            )
        found = max(self.learning_starts, self.rollouts) * self.num_envs
        if self.batch_size > found:
            raise UsageError(
                f"batch_size {self.batch_size} is more than the {found} transitions that the first update finds: "
                f"give learning_starts {-(-self.batch_size // self.num_envs)}"
            )


CONFIGURATIONS: Mapping[str, type[BaseRLCfg]] = {"ppo": PPOCfg, "sac": SACCfg}
"""The configuration of each algorithm, by its name."""


def to_json(cfg: BaseRLCfg) -> dict[str, Any]:
    """The fields as plain JSON values."""
    values = dataclasses.asdict(cfg)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def from_json(values: Any, place: str = "") -> BaseRLCfg:
    """The configuration that `to_json` wrote. Unknown fields are an error, absent ones keep their default.

    Args:
        values: What the JSON says.
        place: Where in its file it stands, as in `schema.build`.

    Raises:
        UsageError: A field is unknown, of another type, out of bounds, or does not go with another one.
    """
    return schema.build(BaseRLCfg, values, place)


def _divisors_near(number: int, wanted: int) -> str:
    """The divisors of `number` next to `wanted` on both sides, with which each part has several."""
    most = _most_parts(number)
    below = next(n for n in range(min(wanted, most), 0, -1) if number % n == 0)
    above = next((n for n in range(wanted, most + 1) if number % n == 0), below)
    return f"mini_batches {below}" if below == above else f"mini_batches {below} or {above}"


def _most_parts(number: int) -> int:
    """The greatest divisor of `number` that leaves several in each part, 1 if there is none."""
    return next((n for n in range(number // 2, 0, -1) if number % n == 0), 1)
