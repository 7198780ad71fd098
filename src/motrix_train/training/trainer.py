"""Makes the parts of a training, starts it or continues it from a checkpoint, and runs its loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from gymnasium.vector import VectorEnv

from motrix_train import config, env_protocol, environment
from motrix_train.config import PPOCfg, SACCfg
from motrix_train.distributed import SINGLE_PROCESS, ProcessGroup
from motrix_train.errors import RunError, UsageError
from motrix_train.learning.agent import Agent
from motrix_train.learning.backend import Backend, select
from motrix_train.learning.divergence import first_not_finite
from motrix_train.learning.transfer import Transfer, transfer
from motrix_train.storage.checkpoint import Checkpoint, ObservationBlock
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.storage.versions import installed_versions
from motrix_train.training.agents import box, fresh_agent
from motrix_train.training.callbacks import Callback
from motrix_train.training.collector import RolloutCollector
from motrix_train.training.device_collector import DeviceCollector
from motrix_train.training.divergence_check import DivergenceCheck
from motrix_train.training.divergence_recorder import DivergenceRecorder
from motrix_train.training.episode_cuts import FirstEpisodeCuts
from motrix_train.training.evaluation import Evaluation, evaluate_policy
from motrix_train.training.loop import TrainingLoop
from motrix_train.training.recorder import Recorder
from motrix_train.training.records import Goal, TrainingPlan, TrainingSummary, never
from motrix_train.training.reporter import Reporter
from motrix_train.training.request import TrainRequest
from motrix_train.training.seeds import Seeds


def train_policy(
    request: TrainRequest,
    *,
    run: RunDirectory | None = None,
    callback: Callback | None = None,
    resumed: Checkpoint | None = None,
    goal: Goal = never,
    group: ProcessGroup = SINGLE_PROCESS,
    dump_diverged: bool = False,
) -> TrainingSummary | None:
    """Trains one policy, called by all processes of the group.

    The same request on the same machine gives the same policy, bit for bit.

    Args:
        request: How to train.
        run: Directory of the events, the progress and the checkpoints; on rank 0 alone, as all that follows.
        callback: Hooks of the training.
        resumed: The run's last checkpoint, from which the training continues as if it had never stopped.
        goal: Ends the training before its budget does.
        group: The processes; each one passes it.
        dump_diverged: Whether the run keeps recordings of its environments that diverge, on rank 0.

    Returns:
        How the training ended, on rank 0. Ctrl-C or SIGTERM ends it early, with the last checkpoint written; a second
        signal ends it at once.

    Raises:
        UsageError: The settings do not go together.
        RunError: The disk refuses, or the training diverges.
    """
    cfg, backend = request.cfg, select(request.backend)
    assert cfg.seed is not None
    seeds = Seeds.from_run_seed(cfg.seed).for_worker(group.rank, cfg.num_envs)
    with ExitStack() as opened:
        replay = None if run is None else run.path / "replay"
        arrays = "numpy" if dump_diverged else request.arrays  # every state is kept, on the host
        env, agent, transferred = group.run(
            _make_agent, opened, request, arrays, backend, resumed, seeds.networks, group, replay
        )
        if group.size > 1:
            backend.load_agent_state(agent, group.from_main(lambda: backend.agent_state(agent)))
        reporter = None
        if run is not None and callback is not None:
            recorder = Recorder(run, callback, _checkpoint_template(env, request))
            reporter = _make_reporter(opened.enter_context(closing(recorder)), request, agent, seeds.evaluation, goal)
        check = DivergenceCheck(agent, backend, cfg, run)
        cuts = group.run(_first_episode_cuts, env, request, seeds.env, group)
        if dump_diverged and run is not None:
            env = DivergenceRecorder(env, run, request.env_id, request.training_fields, cfg.seed)
        collector_of = DeviceCollector if env_protocol.is_on_device(env) else RolloutCollector
        collector = collector_of(env, agent, cfg, cuts, check, cfg.num_envs * group.size)
        loop = TrainingLoop(collector, agent, backend, cfg, group, check, reporter)
        resume_state = group.from_main(lambda: resumed.resume_state if resumed else {})

        def start() -> None:
            if resume_state:
                with _misfits_as_run_errors():
                    loop.resume(resume_state)
            else:
                loop.begin(seeds.env)
            if reporter is not None:
                plan = _plan(request, reporter.recorder.run, loop, group.size, transferred)
                reporter.recorder.start(plan, resumed)

        group.run(start)
        summary = loop.learn()
    if callback is not None and summary is not None:
        callback.finished(summary)
    return summary


def _make_agent(
    opened: ExitStack,
    request: TrainRequest,
    arrays: str,
    backend: Backend,
    resumed: Checkpoint | None,
    seed: int,
    group: ProcessGroup,
    replay: Path | None,
) -> tuple[VectorEnv, Agent, Transfer | None]:
    """Makes the environment, open as long as `opened`, and its agent: from a checkpoint, from a policy, or fresh."""
    if isinstance(request.cfg, PPOCfg) and request.cfg.kl_threshold and group.size > 1:
        raise UsageError(
            f"kl_threshold {request.cfg.kl_threshold} is not possible with {group.size} workers, which would stop an "
            "epoch each at another step: give kl_threshold=0"
        )
    env = opened.enter_context(closing(_make_training_env(request, request.cfg.num_envs, group, arrays)))
    backend.seed_everything(seed)
    agent = fresh_agent(env, request.env_id, request.cfg, backend, request.device, group, replay)
    transferred = None
    if resumed is not None:
        with _misfits_as_run_errors():
            backend.load_agent_state(agent, resumed.state)
    elif request.origin is not None:
        given = request.origin.checkpoint
        given.require_observed(request.env_id, request.env_kwargs, env.single_observation_space)
        transferred = transfer(agent, backend, request.origin)
    if resumed is not None or request.origin is not None:
        _require_finite_state(backend.agent_state(agent))
    return env, agent, transferred


def _make_training_env(request: TrainRequest, num_envs: int, group: ProcessGroup, arrays: str = "numpy") -> VectorEnv:
    """Makes environments of this process, with its share of the CPUs or on its own GPU."""
    num_threads = request.num_threads if request.num_threads or group.size == 1 else group.cpus
    fields = environment.fields_of_worker(request.training_fields, group.gpu, group.size)
    return environment.make_env(request.env_id, num_envs, fields, num_threads, arrays)


def _first_episode_cuts(
    env: VectorEnv, request: TrainRequest, seed: int, group: ProcessGroup
) -> FirstEpisodeCuts | None:
    """The cuts of the first episodes; None if they are switched off or not possible."""
    limit = env_protocol.time_limit(env)
    if limit is None or not request.cfg.staggered_starts:
        return None
    resets_envs = env_protocol.resets_envs(env, lambda num_envs: _make_training_env(request, num_envs, group))
    return FirstEpisodeCuts(env.num_envs, limit, seed) if resets_envs else None


def _make_reporter(recorder: Recorder, request: TrainRequest, agent: Agent, seed: int, goal: Goal) -> Reporter:
    """Makes a reporter that evaluates on the same episodes every time; no training uses them."""
    episodes = request.cfg.evaluation_episodes

    def evaluate() -> Evaluation:
        return evaluate_policy(agent.policy, request.env_id, request.env_kwargs, episodes, seed, request.num_threads)

    backend = select(request.backend)
    return Reporter(recorder, request.cfg.evaluation_interval, evaluate, lambda: backend.agent_state(agent), goal)


def _plan(
    request: TrainRequest, run: RunDirectory, loop: TrainingLoop, workers: int, transferred: Transfer | None
) -> TrainingPlan:
    assert request.cfg.seed is not None
    return TrainingPlan(
        env_id=request.env_id,
        backend=request.backend,
        seed=request.cfg.seed,
        cfg=request.cfg,
        total_env_steps=request.cfg.env_steps(workers),
        run=run,
        env_steps=loop.env_steps,
        workers=workers,
        transfer=transferred,
        policy=loop.agent.policy,
        resumable=env_protocol.is_resumable(loop.collector.env),
    )


def _checkpoint_template(env: VectorEnv, request: TrainRequest) -> Checkpoint:
    """A checkpoint without networks, with the fields that all checkpoints of the training share."""
    observation_space, action_space = box(env.single_observation_space), box(env.single_action_space)
    assert request.cfg.seed is not None
    return Checkpoint(
        env_id=request.env_id,
        env_kwargs=dict(request.env_kwargs),
        backend=select(request.backend).NAME,
        config=config.to_json(request.cfg),
        observation_shape=observation_space.shape,
        action_shape=action_space.shape,
        action_low=tuple(map(float, action_space.low)),
        action_high=tuple(map(float, action_space.high)),
        env_steps=0,
        seed=request.cfg.seed,
        versions=installed_versions(),
        distribution="squashed_gaussian" if isinstance(request.cfg, SACCfg) else "gaussian",
        observation_blocks=_blocks(env),
    )


def _blocks(env: VectorEnv) -> tuple[ObservationBlock, ...]:
    """The parts of the observation, none where the environment does not name them."""
    blocks, history = env_protocol.observation_blocks(env) or {}, env_protocol.observation_history(env)
    return tuple(ObservationBlock(name, part.stop - part.start, history.get(name, 1)) for name, part in blocks.items())


def _require_finite_state(state: Mapping[str, Any]) -> None:
    """Refuses to continue from a policy that is not finite."""
    name = first_not_finite(state)
    if name is not None:
        raise RunError(
            f"the policy to continue from is not usable: its {name} is not finite, since its training diverged; begin "
            "a new run from an older one with --init-from POLICY"
        )


@contextmanager
def _misfits_as_run_errors() -> Iterator[None]:
    """A block that loads a checkpoint.

    Raises:
        RunError: Its content does not fit this training.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as misfit:
        raise RunError(
            f"the run's last checkpoint does not fit ({type(misfit).__name__}: {str(misfit)[:200]}): it is damaged or "
            "of another version; start a new run with --init-from"
        ) from misfit
