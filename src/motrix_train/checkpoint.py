"""A policy on disk: written atomically, read without ever running code from the file.

A ``.pt`` file is a Torch archive that holds tensors and text only, a ``.msgpack`` file is the MessagePack form
of flax. Both hold a header in JSON, the arrays, and a digest of both, so that a damaged file is told from a good
one.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space

from motrix_train.errors import RunError, UsageError
from motrix_train.run_directory import write_whole

FORMAT = "motrix-checkpoint-2"
_BACKENDS = {".pt": "torch", ".msgpack": "jax"}
_PICKLES = (".pickle", ".pkl")
_SESSION = "session"
_TUPLES = ("observation_shape", "action_shape", "action_low", "action_high")


@dataclass(frozen=True)
class Checkpoint:
    """Everything that is needed to use a trained policy, and to train it further."""

    env_id: str
    env_kwargs: dict[str, Any]
    """Arguments of the environment, plain JSON."""
    backend: str
    config: dict[str, Any]
    """The `PPOCfg` as JSON."""
    observation_shape: tuple[int, ...]
    action_shape: tuple[int, ...]
    action_low: tuple[float, ...]
    """Smallest action that the environment takes, one for each element; the environment clips to it."""
    action_high: tuple[float, ...]
    """Greatest action that the environment takes."""
    env_steps: int
    """Env steps trained so far."""
    seed: int
    versions: dict[str, str]
    state: dict[str, Any] = field(repr=False)
    """Nested dicts of NumPy arrays and numbers: networks, optimizers, standardisers."""
    session: dict[str, Any] = field(default_factory=dict, repr=False)
    """The same, of what else a training needs to go on exactly: the environments, the random numbers, the
    statistics. Only in the checkpoint that a run is resumed from."""

    def require_environment(self, env_id: str) -> None:
        """Refuse an environment that this policy was not trained for."""
        if self.env_id.rpartition(":")[2] != env_id.rpartition(":")[2]:
            raise UsageError(
                f"the policy was trained for {self.env_id}, not for {env_id}: give one of {env_id}; "
                f"`evaluate POLICY --env-id {env_id}` and `train {env_id} --init-from POLICY` take it across"
            )

    def require_spaces(self, env_id: str, observation_space: Space, action_space: Space, remedy: str) -> None:
        """Refuse an environment whose observations or actions are others than this policy's."""
        for name, mine, theirs in (
            ("observations of shape", self.observation_shape, observation_space.shape),
            ("actions of shape", self.action_shape, action_space.shape),
            ("actions from", self.action_low, _floats(getattr(action_space, "low", ()))),
            ("actions up to", self.action_high, _floats(getattr(action_space, "high", ()))),
        ):
            if mine != theirs:
                raise UsageError(f"the policy was trained with {name} {mine}, {env_id} has {theirs}: {remedy}")


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
    path = Path(path)
    if backend_of(path) != checkpoint.backend:
        raise UsageError(f"{path}: the suffix belongs to {backend_of(path)}, the policy to {checkpoint.backend}")
    names = [f.name for f in dataclasses.fields(checkpoint) if f.name not in ("state", "session")]
    header = {name: getattr(checkpoint, name) for name in names}
    text = json.dumps(header, sort_keys=True)
    tree = {**checkpoint.state, _SESSION: checkpoint.session}
    state = {name: np.asarray(value) for name, value in leaves(tree)}
    content = {"format": FORMAT, "header": text, "digest": _digest(text, state), "state": state}
    data = (_pack_torch if checkpoint.backend == "torch" else _pack_msgpack)(content)
    write_whole(path, data)


def read(path: str | Path) -> Checkpoint:
    """Read a checkpoint, or say in one line why it cannot be used."""
    path = Path(path)
    backend = backend_of(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"there is no policy {path}") from None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        content = (_unpack_torch if backend == "torch" else _unpack_msgpack)(data)
    except ImportError:
        raise UsageError(f"{path} needs {backend}: pip install 'motrix-gym[{backend}]'") from None
    except Exception as error:  # the decoders raise whatever a damaged byte leads them to
        raise RunError(f"{path} is damaged or not a Motrix policy: train again or give another file") from error
    return _checked(path, backend, content)


def require_same_shapes(expected: Mapping[str, Any], found: Mapping[str, Any], what: str) -> None:
    """Refuse arrays that were saved from networks of other sizes.

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


def _checked(path: Path, backend: str, content: Any) -> Checkpoint:
    try:
        if content["format"] != FORMAT:
            raise RunError(f"{path} has the format {content['format']!r}, this version reads {FORMAT!r}")
        header, state = json.loads(content["header"]), content["state"]
        if content["digest"] != _digest(content["header"], state):
            raise RunError(f"{path} is damaged: its digest does not fit its content; train again or give another file")
        header |= {name: tuple(header[name]) for name in _TUPLES}
        tree = nest(state)
        session = tree.pop(_SESSION, {})
        checkpoint = Checkpoint(**header, state=tree, session=session)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path} is not a Motrix policy: give a file that motrix-train wrote") from error
    if checkpoint.backend != backend:
        raise RunError(f"{path} was written by {checkpoint.backend}, its suffix says {backend}: rename it")
    return checkpoint


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
    """The inverse of `leaves`."""
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        *parents, name = (part.replace("~1", "/").replace("~0", "~") for part in path.split("/"))
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[name] = value
    return tree


def _pack_torch(content: Mapping[str, Any]) -> bytes:
    import torch

    tensors = {name: torch.from_numpy(np.array(value)) for name, value in content["state"].items()}
    buffer = io.BytesIO()
    torch.save({**content, "state": tensors}, buffer)
    return buffer.getvalue()


def _unpack_torch(data: bytes) -> dict[str, Any]:
    import torch

    content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return {**content, "state": {name: tensor.numpy() for name, tensor in content["state"].items()}}


def _pack_msgpack(content: Mapping[str, Any]) -> bytes:
    from flax import serialization

    return serialization.msgpack_serialize(dict(content))


def _unpack_msgpack(data: bytes) -> Any:
    from flax import serialization

    return serialization.msgpack_restore(data)
