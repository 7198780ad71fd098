"""The `motrix-train` command: list, show, train, play, evaluate.

A `UsageError` ends it with one line and exit code 2, a `RunError` or an `OSError` with one line and 1,
Ctrl-C with 130.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pkgutil
import secrets
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from motrix_train import environment, evaluation, presets, video
from motrix_train.backend import NAMES, installed, select
from motrix_train.checkpoint import Checkpoint, backend_of, read
from motrix_train.config import PPOCfg, override, to_json
from motrix_train.errors import RunError, UsageError
from motrix_train.progress import TrainingProgress, share_bar
from motrix_train.run_directory import RunDirectory, versions

PROGRAM = "motrix-train"
RUNS = Path("runs")

app = typer.Typer(
    help="Trains robots to walk, grasp and reach: PPO on Gymnasium environments, with Torch or with JAX.",
    epilog=f"Start with: {PROGRAM} train Motrix/CartPole-v0",
    add_completion=False,
    pretty_exceptions_enable=False,
)

EnvId = Annotated[str, typer.Argument(metavar="ENV", help="Environment id, as `list` shows it.")]
Target = Annotated[
    str,
    typer.Argument(
        metavar="ENV|RUN|POLICY",
        help="An environment id (its newest run), a run directory (its best policy) or a policy file.",
    ),
]
BackendName = Annotated[
    str,
    typer.Option("--backend", help="torch, jax, or auto: one that finds a GPU, else one that is installed."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="A field of the PPO configuration; may be repeated."),
]
EnvFields = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        metavar="FIELD=VALUE",
        help="A field of the task, JSON, dots reach inside: reward_weights.torques=0; may be repeated.",
    ),
]
NumThreads = Annotated[int, typer.Option(min=0, help="Physics threads; 0 is one for each CPU.")]
Device = Annotated[str | None, typer.Option(help="Where the networks are, for example cpu or cuda:0.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")]


def run(arguments: Sequence[str]) -> int:
    """Runs one command.

    Args:
        arguments: As typed after the program's name.

    Returns:
        The exit code.
    """
    command = typer.main.get_command(app)
    try:
        typed = list(arguments) or ["--help"]
        return command.main(typed, prog_name=PROGRAM, standalone_mode=False, obj=shlex.join([PROGRAM, *typed])) or 0
    except UsageError as mistake:
        return _refuse(str(mistake), 2)
    except typer.TyperException as mistake:
        return _refuse(f"{_message_of(mistake)} (see {_help_of(mistake)})", 2)
    except RunError as refusal:
        return _refuse(str(refusal), 1)
    except MemoryError:
        return _refuse("there is not enough memory for this: take a smaller --num-envs", 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as refusal:
        return _refuse(str(refusal), 1)
    except KeyboardInterrupt:
        return 130


@app.command("list")
def list_environments() -> None:
    """Lists the environments that have a preset.

    Example: motrix-train list
    """
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "what it is", "episode", "env steps", "backends"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "id")
    for env_id in presets.preset_ids():
        spec = environment.find(env_id)
        budgets = {backend: presets.preset(env_id, backend).max_env_steps for backend in NAMES}
        table.add_row(
            env_id,
            _description(spec.kwargs),
            f"{spec.max_episode_steps} steps",
            " / ".join(sorted({f"{budget / 1e6:g} M" for budget in budgets.values()})),
            ", ".join(budgets),
        )
    console = Console()
    console.print(table)
    present = [backend for backend in NAMES if installed(backend)]
    remedy = 'none; pip install "motrix-gym[torch]"'
    console.print(f"\nBackends installed here: {', '.join(present) or remedy}", markup=False, highlight=False)


@app.command()
def show(
    env_id: EnvId,
    backend: BackendName = "auto",
    settings: Settings = None,
    env_fields: EnvFields = None,
    as_json: AsJson = False,
) -> None:
    """Shows what `train` would use: every field of the task and of PPO, with your changes in it.

    Example: motrix-train show Motrix/Go1-v0 --set rollouts=32 --env reward_weights.torques=0
    """
    spec = environment.find(env_id)
    name = select(backend).NAME
    default = presets.preset(spec.id, name)
    cfg = override(default, _assignments(settings))
    env_kwargs = environment.parse_kwargs(env_fields or ())
    task = _task_fields(spec.id, env_kwargs)
    content = {
        "env_id": spec.id,
        "backend": name,
        "max_episode_steps": spec.max_episode_steps,
        "max_batch_env_steps": cfg.max_batch_env_steps,
        "env_kwargs": env_kwargs,
        "task": task,
        "config": to_json(cfg),
    }
    if as_json:
        print(json.dumps(content, indent=2))
        return
    console = Console()
    console.print(f"{spec.id} with {name}: {cfg.max_batch_env_steps:,} vector steps of {cfg.num_envs:,} environments")
    console.print(_fields_table("PPO (--set)", to_json(cfg), to_json(default)))
    console.print(_fields_table("Task (--env)", task, _task_fields(spec.id, {})))


@app.command()
def train(
    context: typer.Context,
    env_id: EnvId,
    backend: BackendName = "auto",
    num_envs: Annotated[int | None, typer.Option(min=1, help="Environments stepped together.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the run; the preset's by default.")] = None,
    random_seed: Annotated[bool, typer.Option("--random-seed", help="Draw a seed.")] = False,
    max_env_steps: Annotated[int | None, typer.Option(min=1, help="Environment steps in all.")] = None,
    settings: Settings = None,
    env_fields: EnvFields = None,
    device: Device = None,
    run_dir: Annotated[Path | None, typer.Option(help="The run's own new directory.")] = None,
    num_threads: NumThreads = 0,
) -> None:
    """Trains a policy, into runs/ENV/TIME_BACKEND_seedN/. Ctrl-C ends it early and keeps the last policy.

    Example: motrix-train train Motrix/Go1-v0 --seed 1 --set rollouts=32 --env reward_weights.torques=0
    """
    from motrix_train import training

    spec = environment.find(env_id)
    assignments = _assignments(settings)
    assignments |= {"num_envs": str(num_envs)} if num_envs is not None else {}
    assignments |= {"max_env_steps": str(max_env_steps)} if max_env_steps is not None else {}
    chosen = select(backend)
    cfg = override(presets.preset(spec.id, chosen.NAME), assignments)
    env_kwargs = environment.parse_kwargs(env_fields or ())
    run_seed = _run_seed(seed, random_seed, cfg)
    cfg = dataclasses.replace(cfg, seed=run_seed)
    environment.make(spec.id, 1, env_kwargs).close()

    resolved = {
        "env_kwargs": env_kwargs,
        "num_envs": cfg.num_envs,
        "num_threads": num_threads,
        "device": device,
        "config": to_json(cfg),
        "versions": versions(),
        "command": context.obj,
    }
    run = RunDirectory.create(RUNS, spec.id, chosen.NAME, run_seed, resolved, run_dir)
    try:
        with TrainingProgress(run, Console(stderr=True)) as progress:
            summary = training.train(
                env_id=spec.id,
                env_kwargs=env_kwargs,
                cfg=cfg,
                backend=chosen,
                seed=run_seed,
                num_envs=cfg.num_envs,
                device=device,
                run=run,
                listener=progress,
                num_threads=num_threads,
            )
    except BaseException:
        if not run.has_trained():
            run.discard()
        raise
    print(f"{'Stopped early' if summary.interrupted else 'Trained'}: {run.path}")
    print(f"Best policy: {run.best_policy()}")
    print(f"Measure it:  {shlex.join([PROGRAM, 'evaluate', str(run.path)])}")
    print(f"Watch it:    {shlex.join([PROGRAM, 'play', str(run.path), '--video', 'play.mp4'])}")
    if summary.interrupted:
        raise typer.Exit(130)


@app.command()
def play(
    target: Target,
    policy: Annotated[Path | None, typer.Option(help="A policy file, in place of the newest run's best.")] = None,
    video_path: Annotated[
        Path | None,
        typer.Option("--video", metavar="FILE", help="Where to: .mp4, or .png for a strip of moments."),
    ] = None,
    num_envs: Annotated[int | None, typer.Option(min=1, help="Rows shown in a grid; the preset's by default.")] = None,
    seconds: Annotated[float, typer.Option(min=0, help="How long, in simulated time.")] = 10.0,
    steps: Annotated[int | None, typer.Option(min=1, help="How long, in control steps; wins over --seconds.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which episodes.")] = 0,
    backend: BackendName = "auto",
    device: Device = None,
    num_threads: NumThreads = 0,
) -> None:
    """Plays a policy into a video, with its mean actions.

    Example: motrix-train play Motrix/Go1-v0 --num-envs 4 --video go1.mp4
    """
    if video_path is None:
        raise UsageError("play shows no window: name a file for what is to be seen, for example --video play.mp4")
    if not math.isfinite(seconds):
        raise UsageError(f"--seconds {seconds} is no length of time: give a number such as 10")
    video.check_path(video_path)
    player = _Player.open(target, policy, backend, device)
    checkpoint = player.checkpoint
    rows = num_envs or (1 if video_path.suffix == ".png" else checkpoint.config.get("play_num_envs", 1))
    env = environment.make(
        checkpoint.env_id,
        rows,
        checkpoint.env_kwargs,
        num_threads,
        render_mode="rgb_array",
        render_size=video.tile_size(video_path, rows),
    )
    steps = steps or max(1, round(seconds / environment.task_of(env).control_dt))
    try:
        with share_bar(Console(stderr=True), "playing") as on_progress:
            video.record(player.policy, env, evaluation.first_row_seed(seed), steps, video_path, on_progress)
    finally:
        env.close()
    print(f"{player.path} -> {video_path}")


@app.command()
def evaluate(
    target: Target,
    episodes: Annotated[int, typer.Option(min=1, help="Whole episodes, one a row.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Which episodes; never those of a training.")] = 0,
    as_json: AsJson = False,
    backend: BackendName = "auto",
    device: Device = None,
    num_threads: NumThreads = 0,
) -> None:
    """Measures a policy over whole fresh episodes, with its mean actions.

    Example: motrix-train evaluate Motrix/Go1-v0 --episodes 256 --json
    """
    player = _Player.open(target, None, backend, device)
    checkpoint = player.checkpoint
    with share_bar(Console(stderr=True), "evaluating") as on_progress:
        measured = evaluation.evaluate(
            player.policy, checkpoint.env_id, checkpoint.env_kwargs, episodes, seed, num_threads, on_progress
        )
    if as_json:
        origin = {"env_id": measured.env_id, "backend": checkpoint.backend, "policy": str(player.path)}
        trained = {"env_steps": checkpoint.env_steps}
        print(json.dumps(origin | trained | dataclasses.asdict(measured), indent=2))
        return
    print(f"{player.path}: {checkpoint.env_id}, {checkpoint.backend}, {checkpoint.env_steps:,} steps trained")
    Console().print(_evaluation_table(measured))


@dataclasses.dataclass(frozen=True)
class _Player:
    """A policy that is ready to act, the file it is from and what that file says."""

    path: Path
    checkpoint: Checkpoint
    policy: evaluation.Policy

    @classmethod
    def open(cls, target: str, policy: Path | None, backend: str, device: str | None) -> _Player:
        """Reads the policy that the command line means, for the environment that it means.

        Args:
            target: An environment id, a run directory or a policy file.
            policy: A policy file for the environment of `target`, None for its best.
            backend: As the user gave it.
            device: Where the network is.
        """
        env_id, path = _locate(target, policy)
        suffix_backend = backend_of(path)
        if backend not in ("auto", suffix_backend):
            raise UsageError(f"{path} is a policy of {suffix_backend}: leave out --backend {backend}")
        checkpoint = read(path)
        env = environment.make(checkpoint.env_id, 1, checkpoint.env_kwargs)
        observation_shape, action_shape = env.single_observation_space.shape, env.single_action_space.shape
        env.close()
        checkpoint.require_fit(env_id or checkpoint.env_id, observation_shape or (), action_shape or ())
        return cls(path, checkpoint, select(suffix_backend).policy(checkpoint, device))


def _run_seed(seed: int | None, random_seed: bool, cfg: PPOCfg) -> int:
    if random_seed and seed is not None:
        raise UsageError(f"--seed {seed} and --random-seed exclude each other: give one of them")
    if seed is not None:
        return seed
    return secrets.randbits(31) if random_seed or cfg.seed is None else cfg.seed


def _locate(target: str, policy: Path | None) -> tuple[str | None, Path]:
    """The environment that the policy must be for, None for the policy's own, and the policy's file."""
    path = Path(target)
    run = RunDirectory(path)
    if run.config_path.is_file():
        return run.config().get("env_id"), policy or run.best_policy()
    if path.is_file() or path.suffix:
        if policy is not None:
            raise UsageError(f"{target} and --policy {policy} are two policies: give one of them")
        return None, path
    try:
        env_id = environment.find(target).id
    except UsageError as unknown:
        raise UsageError(f"there is no run directory {target}, and {unknown}") from unknown
    return env_id, policy or RunDirectory.find_newest(RUNS, env_id).best_policy()


def _assignments(settings: Sequence[str] | None) -> dict[str, str]:
    """Splits the values of --set."""
    pairs = [setting.partition("=") for setting in settings or ()]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise UsageError(f"--set {name}{equals}{value}: write it as field=value, for example rollouts=32")
    return {name: value for name, _, value in pairs}


def _description(kwargs: Mapping[str, Any]) -> str:
    """The first line of the docstring of a registered task."""
    documented = pkgutil.resolve_name(kwargs["task"]).__doc__ or ""
    return documented.strip().partition("\n")[0]


def _task_fields(env_id: str, env_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a task with every reward weight, plain JSON."""
    env = environment.make(env_id, 1, env_kwargs)
    task = environment.task_of(env)
    env.close()
    return dataclasses.asdict(task) | {"reward_weights": task.weights}


def _fields_table(title: str, values: Mapping[str, Any], default: Mapping[str, Any]) -> Table:
    """Names, as the command line takes them, and values, those that differ from the default in bold."""
    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=None, show_header=False)
    for name, value in values.items():
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        for key, leaf in inner:
            before = default[name].get(key) if key else default[name]
            style = None if leaf == before else "bold green"
            table.add_row(f"{name}.{key}" if key else name, json.dumps(leaf), style=style)
    return table


def _evaluation_table(measured: evaluation.Evaluation) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("episodes", f"{measured.episodes}  (seed {measured.seed})")
    table.add_row("return", f"{measured.mean_return:.4g} +- {measured.std_return:.3g}")
    table.add_row("length", f"{measured.mean_length:.1f} steps")
    for reason, share in measured.termination.items():
        table.add_row(f"ended: {reason}", f"{share:.2%}")
    table.add_row("reached the time limit", f"{measured.truncation:.2%}")
    for name, value in measured.metrics.items():
        table.add_row(name, f"{value:.4g}")
    return table


def _refuse(message: str, code: int) -> int:
    print(f"{PROGRAM}: {' '.join(message.split())}", file=sys.stderr)
    return code


def _message_of(mistake: Exception) -> str:
    format_message = getattr(mistake, "format_message", None)
    return format_message() if format_message else str(mistake)


def _help_of(mistake: Exception) -> str:
    context = getattr(mistake, "ctx", None)
    return f"{context.command_path if context else PROGRAM} --help"
