"""`motrix-train view`: a policy live, in a browser or in a window."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from motrix_train import environment
from motrix_train.commands.options import (
    EnvFields,
    Imports,
    NumThreads,
    OtherEnv,
    Pretrained,
    complete_target,
)
from motrix_train.errors import UsageError
from motrix_train.policies import TrainedPolicy
from motrix_train.storage import recording
from motrix_train.storage.run_directory import NoTrainedRun, RunDirectory
from motrix_train.storage.run_record import RunRecord
from motrix_train.viewer.following import view_run
from motrix_train.viewer.replay import Replay
from motrix_train.viewer.show import LOCAL, ViewOptions, watch
from motrix_train.viewer.show import view as view_policy

Window = Annotated[bool, typer.Option("--window", help="MuJoCo's window in place of a page; needs a display.")]
Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Address that the page is served on. There is no password.")]
Port = Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Its port; 0 is the first free one from 8080.")]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Whether to open a browser.")]


def view(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ENV|RUN|POLICY|RECORDING",
            help="An environment id (its newest run), a run directory (its best policy, and its newest while it "
            "trains), a policy file, or a recording from a run's diverged/.",
            autocompletion=complete_target,
        ),
    ],
    policy: Annotated[Path | None, typer.Argument(metavar="POLICY", help="A policy file for ENV.")] = None,
    pretrained: Pretrained = False,
    random: Annotated[bool, typer.Option("--random", help="Random actions in place of a policy.")] = False,
    zero: Annotated[bool, typer.Option("--zero", help="The action zero in place of a policy.")] = False,
    num_envs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Environments that run; one is shown at a time.")
    ] = 4,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Which episodes.")] = 0,
    window: Window = False,
    host: Host = LOCAL,
    port: Port = 0,
    browser: Browser = True,
    env_id: OtherEnv = None,
    env_fields: EnvFields = None,
    imports: Imports = None,
    num_threads: NumThreads = 0,
) -> None:
    """Shows a policy live: pause, step, command, push, and see its rewards.

    Example: motrix-train view Motrix/Go1-v0 --pretrained

    Example: motrix-train view Motrix/Go1-v0 --env terrain.noise=0.05

    Example: motrix-train view Motrix/HumanoidWalk-v0 --random

    Example: motrix-train view runs/Motrix/Go1-v0/2026-11-22_19-30-00_torch_seed1
    """
    fields = environment.parse_kwargs(env_fields or ())
    options = ViewOptions(
        num_envs=num_envs,
        seed=seed,
        num_threads=num_threads,
        window=window,
        host=host,
        port=port,
        browser=browser,
    )
    path = Path(target)
    if recording.is_recording(path):
        return watch(Replay(path), options)
    if random or zero:
        _require_no_policy(policy, pretrained, random, zero)
        shown = env_id or _env_of(target)
        name = "random actions" if random else "the action zero"
        actions = RandomPolicy(shown, fields, seed) if random else None
        return view_policy(shown, fields, actions, options.named(lambda: name))
    run = RunDirectory(path)
    if run.config_path.is_file() and policy is None and env_id is None and not pretrained:
        return view_run(run, fields, options)
    trained = _opened(target, policy, env_id, fields, pretrained)
    view_policy(trained.env_id, trained.env_kwargs, trained.acting(), options.named(lambda: trained.about))


class RandomPolicy:
    """Uniform actions, for each environment its own.

    Args:
        env_id: Registered id.
        env_kwargs: Fields of the task.
        seed: Of the actions.
    """

    def __init__(self, env_id: str, env_kwargs: dict[str, Any], seed: int) -> None:
        self._space = environment.action_space(env_id, env_kwargs)
        self._rng = np.random.default_rng(seed)

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Actions (N, m) for observations (N, k)."""
        shape = (len(observations), *self._space.shape)
        return self._rng.uniform(self._space.low, self._space.high, shape).astype(np.float32)


def _opened(target: str, policy: Path | None, env_id: str | None, fields: Any, pretrained: bool) -> TrainedPolicy:
    """The policy of the command line; says what there is to see where there is none."""
    try:
        return TrainedPolicy.open(target, policy, env_id, fields, ready_made=pretrained)
    except NoTrainedRun as refusal:
        raise UsageError(f"{refusal}; or --zero or --random, for none") from refusal


def _env_of(target: str) -> str:
    """The environment that is meant by an id or by a run."""
    run = RunDirectory(Path(target))
    if run.config_path.is_file():
        return RunRecord.of(run).env_id
    return environment.import_and_find_spec(target).id


def _require_no_policy(policy: Path | None, pretrained: bool, random: bool, zero: bool) -> None:
    acting = (("--random", random), ("--zero", zero), ("--pretrained", pretrained), (str(policy), policy))
    given = [name for name, is_given in acting if is_given]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} both say who acts: give one of them")
