"""A policy on disk, the same for Torch and for JAX: written atomically, read without ever running code from the file.

A policy is a ``.safetensors`` file: a header in JSON, and arrays by name. Weights are (inputs, outputs), hidden layers
are numbered from the input::

    policy/hidden/0/weight   policy/hidden/0/bias   ...   policy/output/weight   policy/output/bias   policy/log_std
    value/...                                       the same without log_std; policy/value_output if layers are shared
    critic_1/..., target_critic_1/..., critic_2/... those of SAC, with norm/0/weight where layers are normalized; its
                                                    policy has no log_std, since half of its outputs are that
    observation_normalizer/mean, variance, count    state_normalizer/...   value_normalizer/...
    mirror/observation_index, observation_sign, action_index, action_sign

The file that a run is resumed from has all this and more: ``optimizer/...``, as its backend writes it, and
``session/...``, the state of environments, random streams and statistics.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from gymnasium import Space

from motrix_gym.fields import Bound, NumberOrInfinity, annotations_of
from motrix_train import schema
from motrix_train.config import BackendName, BaseRLCfg, PPOCfg, SACCfg, from_json
from motrix_train.environment import without_module
from motrix_train.errors import RunError, UsageError
from motrix_train.storage import array_file
from motrix_train.storage.array_file import SUFFIX
from motrix_train.storage.array_tree import leaves, nest
from motrix_train.storage.files import atomic_write

FORMAT = "motrix-policy-1"
OPTIMIZER = "optimizer"  # the part of `Checkpoint.state` that only a resumed run reads
_RESUME_STATE = "session"  # its name in the file
_REMEDY = "train again or give another file"
_PICKLES = (".pickle", ".pkl")
_BEFORE = (".pt", ".msgpack")


@dataclass(frozen=True)
class ObservationBlock:
    """A part of the observation that shows one quantity."""

    name: str
    size: Annotated[int, Bound(1)]
    """Elements, all steps of the history together."""
    history: Annotated[int, Bound(1)] = 1
    """Control steps that it shows, from the oldest to the newest."""


@dataclass(frozen=True)
class Header:
    """The text and the numbers of a checkpoint."""

    env_id: str
    env_kwargs: dict[str, Any]
    """Arguments of the environment, plain JSON."""
    backend: BackendName
    """What trained it, and what can resume its run."""
    config: dict[str, Any]
    """The `PPOCfg` or `SACCfg` as JSON: sizes of the layers, activation, limits of the noise."""
    observation_shape: tuple[Annotated[int, Bound(1)], ...]
    action_shape: tuple[Annotated[int, Bound(1)], ...]
    action_low: tuple[NumberOrInfinity, ...]
    """Smallest action that the environment takes, one for each element; the environment clips to it."""
    action_high: tuple[NumberOrInfinity, ...]
    """Greatest action that the environment takes."""
    env_steps: Annotated[int, Bound(0)]
    """Env steps trained so far."""
    seed: Annotated[int, Bound(0)]
    versions: dict[str, str]
    distribution: Literal["gaussian", "squashed_gaussian"] = "gaussian"
    """Of the actions around the output of the network; that of SAC is squashed by a tanh to the bounds of an action."""
    observation_blocks: tuple[ObservationBlock, ...] = ()
    """The parts of the observation in their order; none where the environment does not name them."""


@dataclass(frozen=True)
class Checkpoint(Header):
    """Everything that is needed to use a trained policy, and to train it further."""

    state: dict[str, Any] = field(default_factory=dict, repr=False)
    """Nested dicts of NumPy arrays and numbers: networks, normalizers, mirror; in a run's resume file the optimizer."""
    resume_state: dict[str, Any] = field(default_factory=dict, repr=False)
    """Nested dicts of the state for an exact resumption: environments, random generators, statistics. Only the
    file that a run is resumed from has it."""

    @property
    def cfg(self) -> BaseRLCfg:
        """How it was trained."""
        return from_json(self.config)

    @property
    def is_squashed(self) -> bool:
        """Whether its actions are within their bounds, and its noise depends on the observation."""
        return self.distribution == "squashed_gaussian"

    def policy_alone(self) -> "Checkpoint":
        """The same without what only a resumed run reads."""
        state = {name: part for name, part in self.state.items() if name != OPTIMIZER}
        return replace(self, state=state, resume_state={})

    def require_networks(self, place: str | Path) -> None:
        """Raise an error if parts of the networks are missing, or are not of the declared sizes.

        Args:
            place: Where the checkpoint is from, for the message.

        Raises:
            UsageError: The arrays are not those that the configuration and the shapes declare.
        """
        for name, shape in self._shapes().items():
            part: Any = self.state
            for key in name.split("/"):
                part = part.get(key) if isinstance(part, Mapping) else None
            if part is None or isinstance(part, Mapping):
                raise UsageError(f"{place} is damaged: it has no {name}; {_REMEDY}")
            if np.shape(part) != shape:
                raise UsageError(
                    f"{place} is damaged: its {name} is {np.shape(part)}; {shape} is needed by its layer sizes and its "
                    f"shapes; {_REMEDY}"
                )
            if name.endswith("_index") and sorted(part.tolist()) != list(range(*shape)):
                raise UsageError(f"{place} is damaged: its {name} is no permutation; {_REMEDY}")

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the arrays that acting needs, and of the value network as far as they are known."""
        cfg = self.cfg
        inputs, outputs = int(np.prod(self.observation_shape)), int(np.prod(self.action_shape))
        per_action = 2 if self.is_squashed else 1  # mean and noise, or the mean alone
        shapes = {
            **_layer_shapes("policy", (inputs, *cfg.policy_hidden_layer_sizes), per_action * outputs),
            "observation_normalizer/mean": (inputs,),
            "observation_normalizer/variance": (inputs,),
        }
        if cfg.mirror != "none":
            for name, width in (("observation", inputs), ("action", outputs)):
                shapes |= {f"mirror/{name}_{part}": (width,) for part in ("index", "sign")}
        if isinstance(cfg, PPOCfg):
            shapes["policy/log_std"] = (outputs,)
        for critic in _critics(cfg):
            shapes |= _layer_shapes(critic, (0, *cfg.value_hidden_layer_sizes), 1)
            del shapes[f"{critic}/hidden/0/weight"]  # it may see less or more than the policy
        return shapes

    def require_environment(self, env_id: str) -> None:
        """Raise an error if this policy was not trained for an environment."""
        if without_module(self.env_id) != without_module(env_id):
            raise UsageError(
                f"the policy was trained for {self.env_id}, not for {env_id}: give one of {env_id}; "
                f"`evaluate POLICY --env-id {env_id}` and `train {env_id} --init-from POLICY` take it across"
            )

    def require_spaces(self, env_id: str, observation_space: Space, action_space: Space, remedy: str) -> None:
        """Raise an error if the observations or actions of an environment differ from those of this policy."""
        for name, mine, theirs in (
            ("observations of shape", self.observation_shape, observation_space.shape),
            ("actions of shape", self.action_shape, action_space.shape),
            ("actions from", self.action_low, _floats(getattr(action_space, "low", ()))),
            ("actions up to", self.action_high, _floats(getattr(action_space, "high", ()))),
        ):
            if mine != theirs:
                raise UsageError(f"the policy was trained with {name} {mine}, {env_id} has {theirs}: {remedy}")

    def require_observed(self, env_id: str, env_kwargs: Mapping[str, Any], observation_space: Space) -> None:
        """Raise an error if its environment, made with other fields, shows other blocks or steps in the same shape."""
        if self.env_id != env_id or self.observation_shape != observation_space.shape:
            return
        for name, default in (("observed", None), ("history", 1)):
            mine, theirs = (json.dumps(kwargs.get(name, default)) for kwargs in (self.env_kwargs, env_kwargs))
            if mine != theirs:
                raise UsageError(f"the policy was trained with {name} {mine}, not {theirs}: give that one")


def require_policy_file(path: str | Path) -> None:
    """Refuse a file that is no policy by its suffix."""
    suffix = Path(path).suffix
    if suffix in _PICKLES:
        raise UsageError(
            f"{path} is a pickle, and reading one can run any code that is in it: train with motrix-train, "
            f"which writes {SUFFIX} files"
        )
    if suffix in _BEFORE:
        raise UsageError(f"{path} is a policy of an older version, which this one does not read: train it again")
    if suffix != SUFFIX:
        raise UsageError(f"{path}: a policy is a {SUFFIX} file, not {suffix or 'without suffix'}")


def write(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint: the whole file appears under its name, or nothing does."""
    require_policy_file(path)
    atomic_write(Path(path), to_bytes(checkpoint))


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """The content that `write` writes."""
    text = json.dumps(header(checkpoint), sort_keys=True)
    tree = {**checkpoint.state, _RESUME_STATE: checkpoint.resume_state}
    return array_file.to_bytes(FORMAT, text, {name: np.asarray(value) for name, value in leaves(tree)})


def header(checkpoint: Checkpoint) -> dict[str, Any]:
    """The header of a checkpoint as plain JSON values."""
    values = {name: getattr(checkpoint, name) for name in annotations_of(Header)}
    return {**values, "observation_blocks": [vars(block) for block in checkpoint.observation_blocks]}


def read(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        UsageError: There is no such file, or it is of another kind.
        RunError: It is damaged, or its header is not valid.
    """
    path = Path(path)
    require_policy_file(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"there is no policy {path}") from None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    text, arrays = array_file.from_bytes(data, path, FORMAT, "a Motrix policy", _REMEDY)
    if not all(array.dtype.kind in "fiub" for array in arrays.values()):
        raise RunError(f"{path} is not a Motrix policy: it holds more than text and arrays of numbers")
    try:
        found = schema.build(Header, schema.parse_json(text.encode()))
        tree = nest(arrays)
        resume_state = tree.pop(_RESUME_STATE, {})
        if not isinstance(resume_state, dict):
            raise UsageError(f"{_RESUME_STATE} is an array; it takes arrays by name")
        from_json(found.config, "config.")
        return Checkpoint(**vars(found), state=tree, resume_state=resume_state)
    except UsageError as mistake:
        raise RunError(f"{path} is damaged or of another version ({mistake}): {_REMEDY}") from mistake


def env_steps_of(path: str | Path) -> int | None:
    """Env steps of a policy; None where its file is damaged, or is none that this version reads."""
    try:
        return read(path).env_steps
    except (RunError, UsageError):
        return None


def _critics(cfg: BaseRLCfg) -> tuple[str, ...]:
    """The networks of values that have layers of their own."""
    if isinstance(cfg, SACCfg):
        return ("critic_1", "critic_2", "target_critic_1", "target_critic_2")
    return () if isinstance(cfg, PPOCfg) and cfg.share_policy_value_features else ("value",)


def _layer_shapes(network: str, widths: tuple[int, ...], outputs: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's layers by name; `widths` are those of its input and of its hidden layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (before, width) in enumerate(pairwise(widths)):
        shapes |= {f"{network}/hidden/{i}/weight": (before, width), f"{network}/hidden/{i}/bias": (width,)}
    return shapes | {f"{network}/output/weight": (widths[-1], outputs), f"{network}/output/bias": (outputs,)}


def _floats(array: Any) -> tuple[float, ...]:
    return tuple(map(float, array))
