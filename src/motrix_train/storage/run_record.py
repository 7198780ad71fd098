"""The content of `config.json` of a run, as typed and checked fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from motrix_gym.fields import Bound
from motrix_train import schema
from motrix_train.config import BackendName, BaseRLCfg
from motrix_train.errors import RunError, UsageError
from motrix_train.storage.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class OriginRecord:
    """The policy that a run started from.

    Attributes:
        env_id: Environment that it was trained for.
        env_steps: Env steps that it was trained before.
        partial: Whether layers that did not fit were left out.
        normaliser: Whether its normalizers were loaded.
    """

    env_id: str
    env_steps: Annotated[int, Bound(0)]
    partial: bool
    normaliser: bool


@dataclass(frozen=True, kw_only=True)
class ResumedRecord:
    """One resumption: the env steps before it, its command and its versions."""

    env_steps: Annotated[int, Bound(0)]
    command: str
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class WandbRecord:
    """Project and id of a run in Weights & Biases."""

    project: str
    id: str


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The configuration of a run.

    Attributes:
        env_id: Registered id, with the ``module:`` that the user typed before it.
        backend: Framework of the networks.
        seed: Of the run; that of `config`.
        created: When it began, ISO 8601 in UTC.
        env_kwargs: Fields of the task.
        num_envs: Environments of each worker; that of `config`.
        num_threads: Physics threads, 0 for all CPUs.
        workers: How many processes train it.
        device: Of the networks, None for a GPU if there is one.
        origin: The policy that it started from.
        config: How it is trained.
        versions: Of the packages that a result depends on, by name.
        command: The command line.
        resumed: Its resumptions, in order.
        video_every: Checkpoints from one video to the next.
        wandb: Its project and id in Weights & Biases.
    """

    env_id: str
    backend: BackendName
    seed: Annotated[int, Bound(0)]
    created: str
    env_kwargs: dict[str, Any]
    num_envs: int
    num_threads: Annotated[int, Bound(0, 4096)]
    workers: Annotated[int, Bound(1, 2**16)]
    device: str | None
    origin: OriginRecord | None
    config: BaseRLCfg
    versions: dict[str, str]
    command: str
    resumed: tuple[ResumedRecord, ...] = ()
    video_every: Annotated[int, Bound(1)] | None = None
    wandb: WandbRecord | None = None

    def __post_init__(self) -> None:
        for name in ("seed", "num_envs"):
            mine, theirs = getattr(self, name), getattr(self.config, name)
            if mine != theirs:
                raise UsageError(f"{name} is {mine} and config.{name} is {theirs}; both must be the same")

    @classmethod
    def of(cls, run: RunDirectory) -> RunRecord:
        """The record of a run.

        Raises:
            RunError: It is damaged: names the file, the field and the value.
        """
        content = run.config()
        try:
            return schema.build(cls, content)
        except UsageError as mistake:
            raise RunError(
                f"{run.config_path} is damaged or of another version ({mistake}): put it back, or train anew"
            ) from mistake
