"""A policy on disk: written atomically, read without ever running code from the file.

A ``.pt`` file is a Torch archive that holds tensors and text only, a ``.msgpack`` file is the MessagePack form
of flax. Both hold a header in JSON, the arrays, and a digest of both, so that a damaged file is
recognized. A digest does not prove good intent: everything in a file is checked before it is used, and no allocation
is larger than the file.
"""

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from gymnasium import Space

from motrix_gym.fields import Bound, NumberOrInfinity, annotations_of, short
from motrix_train import schema
from motrix_train.config import BackendName, PPOCfg, from_json
from motrix_train.errors import RunError, UsageError
from motrix_train.storage import torch_archive
from motrix_train.storage.files import atomic_write

FORMAT = "motrix-checkpoint-2"
_BACKENDS = {".pt": "torch", ".msgpack": "jax"}
_PICKLES = (".pickle", ".pkl")
_RESUME_STATE = "session"  # its name in the file
_REMEDY = "train again or give another file"


@dataclass(frozen=True)
class Header:
    """The text and the numbers of a checkpoint."""

    env_id: str
    env_kwargs: dict[str, Any]
    """Arguments of the environment, plain JSON."""
    backend: BackendName
    config: dict[str, Any]
    """The `PPOCfg` as JSON."""
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


@dataclass(frozen=True)
class Checkpoint(Header):
    """Everything that is needed to use a trained policy, and to train it further."""

    state: dict[str, Any] = field(repr=False)
    """Nested dicts of NumPy arrays and numbers: networks, optimizers, normalizers."""
    resume_state: dict[str, Any] = field(default_factory=dict, repr=False)
    """Nested dicts of the state for an exact resumption: environments, random generators, statistics. Only the
    checkpoint that a run is resumed from has it."""

    @property
    def cfg(self) -> PPOCfg:
        """How it was trained."""
        return from_json(self.config)

    def require_networks(self, place: str | Path) -> None:
        """Raise an error if parts of the networks are missing, or the networks are larger than the file.

        Args:
            place: Where the checkpoint is from, for the message.

        Raises:
            UsageError: The arrays are not those that the configuration and the shapes declare.
        """
        cfg, state = self.cfg, self.state
        inputs, outputs = math.prod(self.observation_shape), math.prod(self.action_shape)
        least = {
            "policy": _parameters(inputs, cfg.policy_hidden_layer_sizes) + outputs * cfg.policy_hidden_layer_sizes[-1],
            "observation_preprocessor": 2 * inputs,
        }
        if cfg.mirror != "none":
            least["mirror"] = 2 * (inputs + outputs)
        if "value" in state or not cfg.share_policy_value_features:
            least["value"] = _parameters(1, cfg.value_hidden_layer_sizes)  # it may see less than the policy
        for name, numbers in least.items():
            part = state.get(name)
            if not isinstance(part, dict):
                raise UsageError(f"{place} is damaged: it has no {name}; {_REMEDY}")
            found = sum(np.size(array) for _, array in leaves(part))
            if found < numbers:
                sizes = cfg.value_hidden_layer_sizes if name == "value" else cfg.policy_hidden_layer_sizes
                raise UsageError(
                    f"{place} is damaged: its {name} has {found} numbers; {numbers} or more are needed "
                    f"by its layer sizes {short(sizes)} and its shapes; {_REMEDY}"
                )

    def require_environment(self, env_id: str) -> None:
        """Raise an error if this policy was not trained for an environment."""
        if self.env_id.rpartition(":")[2] != env_id.rpartition(":")[2]:
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


def backend_of(path: str | Path) -> str:
    """The backend that a policy file belongs to, by its suffix."""
    suffix = Path(path).suffix
    if suffix in _PICKLES:
        raise UsageError(
            f"{path} is a pickle, and reading one can run any code that is in it: train with motrix-train, "
            f"which writes .pt (Torch) and .msgpack (JAX) files"
        )
    if suffix not in _BACKENDS:
        raise UsageError(f"{path}: a policy is a .pt (Torch) or .msgpack (JAX) file, not {suffix or 'without suffix'}")
    return _BACKENDS[suffix]


def write(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint: the whole file appears under its name, or nothing does."""
    atomic_write(Path(path), to_bytes(path, checkpoint))


def to_bytes(path: str | Path, checkpoint: Checkpoint) -> bytes:
    """The content that `write` writes to a path.

    Raises:
        UsageError: The suffix belongs to the other backend.
    """
    if backend_of(path) != checkpoint.backend:
        raise UsageError(f"{path}: the suffix belongs to {backend_of(path)}, the policy to {checkpoint.backend}")
    header = {name: getattr(checkpoint, name) for name in annotations_of(Header)}
    text = json.dumps(header, sort_keys=True)
    tree = {**checkpoint.state, _RESUME_STATE: checkpoint.resume_state}
    state = {name: np.asarray(value) for name, value in leaves(tree)}
    content = {"format": FORMAT, "header": text, "digest": _digest(text, state), "state": state}
    return (_pack_torch if checkpoint.backend == "torch" else _pack_msgpack)(content)


def read(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        UsageError: There is no such file, or it is of another kind.
        RunError: It is damaged, or its header is not valid.
    """
    path = Path(path)
    backend = backend_of(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"there is no policy {path}") from None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        content = (torch_archive.read if backend == "torch" else _unpack_msgpack)(data)
    except ImportError:
        raise UsageError(f"{path} needs {backend}: pip install 'motrix-gym[{backend}]'") from None
    except Exception as error:  # the decoders raise whatever a damaged byte leads them to
        raise RunError(f"{path} is damaged or not a Motrix policy: {_REMEDY}") from error
    checkpoint = _checked(path, content)
    if checkpoint.backend != backend:
        raise RunError(f"{path} was written by {checkpoint.backend}, its suffix says {backend}: rename it")
    return checkpoint


def require_same_shapes(expected: Mapping[str, Any], found: Mapping[str, Any], what: str) -> None:
    """Raise an error if arrays were saved from networks of other sizes.

    Args:
        expected: Nested dicts of arrays of the networks at hand.
        found: The same from a checkpoint.
        what: Name of the networks for the message.
    """
    wanted = {name: np.shape(value) for name, value in leaves(expected)}
    given = {name: np.shape(value) for name, value in leaves(found)}
    for name in sorted(wanted | given):
        if wanted.get(name) != given.get(name):
            raise UsageError(
                f"{what}: the checkpoint has {name} {given.get(name, 'absent')}, this configuration needs "
                f"{wanted.get(name, 'none')}: give the layer sizes and settings that it was trained with"
            )


def _checked(path: Path, content: Any) -> Checkpoint:
    parts = content if isinstance(content, dict) else {}
    if not {"format", "header", "digest", "state"} <= parts.keys():
        raise RunError(f"{path} is not a Motrix policy: give a file that motrix-train wrote")
    if parts["format"] != FORMAT:
        raise RunError(f"{path} has the format {short(parts['format'])}, this version reads {FORMAT!r}")
    text, state = parts["header"], parts["state"]
    if not isinstance(text, str) or not isinstance(state, dict) or not all(map(_is_numbers, state.values())):
        raise RunError(f"{path} is not a Motrix policy: it holds more than text and arrays of numbers")
    if parts["digest"] != _digest(text, state):
        raise RunError(f"{path} is damaged: its digest does not fit its content; {_REMEDY}")
    try:
        header = schema.build(Header, schema.parse_json(text.encode()))
        tree = nest(state)
        resume_state = tree.pop(_RESUME_STATE, {})
        if not isinstance(resume_state, dict):
            raise UsageError(f"{_RESUME_STATE} is an array; it takes arrays by name")
        from_json(header.config, "config.")
        return Checkpoint(**vars(header), state=tree, resume_state=resume_state)
    except UsageError as mistake:
        raise RunError(f"{path} is damaged or of another version ({mistake}): {_REMEDY}") from mistake


def _is_numbers(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "fiub"


def _parameters(inputs: int, widths: Sequence[int]) -> int:
    """Weights and biases of hidden layers."""
    return sum((before + 1) * width for before, width in zip((inputs, *widths), widths, strict=False))


def _digest(header: str, state: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(state):
        array = np.asarray(state[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _floats(array: Any) -> tuple[float, ...]:
    return tuple(map(float, array))


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested dicts with their paths, as in ``policy/log_std``."""
    for name, value in tree.items():
        name = name.replace("~", "~0").replace("/", "~1")  # as in JSON pointers, RFC 6901
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def nest(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `leaves`.

    Raises:
        UsageError: A name is that of a value and of a dict, or is nested too deep.
    """
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        *parents, name = (part.replace("~1", "/").replace("~0", "~") for part in path.split("/"))
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
            if not isinstance(branch, dict):
                raise UsageError(f"{short(path)} lies in an array")
        if len(parents) > schema.MAX_DEPTH or name in branch:
            raise UsageError(f"{short(path)} is nested too deep, or there twice")
        branch[name] = value
    return tree


def _pack_torch(content: Mapping[str, Any]) -> bytes:
    import torch

    tensors = {name: torch.from_numpy(np.array(value)) for name, value in content["state"].items()}
    buffer = io.BytesIO()
    torch.save({**content, "state": tensors}, buffer)
    return buffer.getvalue()


def _pack_msgpack(content: Mapping[str, Any]) -> bytes:
    from flax import serialization

    return serialization.msgpack_serialize(dict(content))


def _unpack_msgpack(data: bytes) -> Any:
    from flax import serialization

    return serialization.msgpack_restore(data)
