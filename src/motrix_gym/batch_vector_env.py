"""A batch as a Gymnasium vector environment: spaces, seeds, the three autoreset modes, rendering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from motrix_gym import arguments, rows
from motrix_gym.arguments import some
from motrix_gym.batch import Batch
from motrix_gym.entry_points import PlainSpec
from motrix_gym.outcome import Outcome
from motrix_gym.state import Array
from motrix_gym.task import render_fps

_BY_ENV = ("render", "np_random_seed", "state")  # of which `call` finds one value for each environment
_OF_ONE = {"observation_space": "single_observation_space", "action_space": "single_action_space"}
_COPIED = ("_spec", "_seeds", "_was_seeded", "_was_reset", *_OF_ONE, *_OF_ONE.values())


class BatchVectorEnv(PlainSpec, VectorEnv):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A batch of N environments as a Gymnasium vector environment.

    Args:
        batch: The environments.
        autoreset_mode: When an environment whose episode ended is reset; see `MotrixVectorEnv`.
        render_mode: None or "rgb_array".
        render_size: Width and height of a picture in pixels.
        render_camera: Name of the model's camera; None for ``track``, else the first, else a free one.

    Attributes:
        batch: As given.
        arrays: What `step` takes and gives: "numpy", or "torch" for tensors on the device of the physics.
        task: The task.
        max_episode_steps: The time limit in steps; None for none.
        autoreset_mode: The `AutoresetMode` in force.
        observation_blocks: The columns of each observation block, by name, in order.
        observation_history: The steps that each block shows, by name; its columns go from the oldest to the newest.
        mirror: The reflection of the task's robot, or None.
        state_space: Space of one environment's privileged observation (see `state`), or None if the task has none.
    """

    task: Any
    max_episode_steps: int | None

    def __init__(
        self,
        batch: Batch,
        *,
        autoreset_mode: AutoresetMode,
        render_mode: str | None,
        render_size: tuple[int, int],
        render_camera: str | None,
    ):
        self.batch = batch
        self.arrays = "numpy" if type(batch.example) is np.ndarray else "torch"
        self.num_envs = batch.num_envs
        self.autoreset_mode = autoreset_mode
        self.render_mode, self.render_size, self.render_camera = render_mode, render_size, render_camera
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": render_fps(batch.control_dt),
            "autoreset_mode": autoreset_mode,
            "deterministic": batch.deterministic,
        }
        self.observation_blocks, self.observation_history = batch.observation_blocks, batch.observation_history
        self.mirror = batch.mirror
        width = max(block.stop for block in batch.observation_blocks.values())
        self.single_observation_space = gym.spaces.Box(-np.inf, np.inf, (width,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.single_action_space = batch.action_space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        more = batch.privileged_width
        self.state_space = gym.spaces.Box(-np.inf, np.inf, (width + more,), np.float32) if more else None
        self._seeds = [0] * self.num_envs
        self._was_seeded = self._was_reset = False
        self._renderers: dict[int, Any] = {}  # by the identity of the model that they draw

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The seed of every environment's random stream; -1, as in Gymnasium, where it came with `set_state`."""
        self._seed_if_never_seeded()
        return tuple(self._seeds)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts new episodes.

        Args:
            seed: An integer s seeds environment i with s + i; a sequence seeds each environment, None in it leaves a
                random stream as it is. Without a seed, every random stream goes on.
            options: ``{"reset_mask": (N,) bool}`` resets, and seeds, just those environments.

        Returns:
            The observations, (N, k) float32, and an empty info.

        Raises:
            ValueError: A seed that is no whole number, a mask that is not of N bools, or another option.
            gymnasium.error.ResetNeeded: The first reset leaves environments out.
        """
        mask = arguments.reset_mask(options, self.num_envs, self.batch.example)
        if not self._was_reset and not mask.all():
            raise gym.error.ResetNeeded(
                f"no episode has begun in environments {some(~mask)}; the first reset() takes all"
            )
        self._seed(seed, mask)
        self.batch.reset(rows.from_host(mask, self.batch.example))
        self._was_reset = True
        return self.batch.observe(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of every environment.

        Args:
            actions: (N, m); what lies outside the action space is clipped to it.

        Returns:
            Observations (N, k) float32, rewards (N,) float64, terminated (N,) bool, truncated (N,) bool, and the
            info: ``reward_terms`` (weighted; their sum is the reward), ``termination`` (by reason), ``metrics``,
            ``success`` (N,) bool where the task can be solved (see `Task.success`), and in same-step autoreset
            ``final_obs`` and ``final_info`` when an episode ended. All are tensors where `arrays` is "torch", and
            rewards then float32; whether an episode ended is the one thing that the host waits for, and where one did,
            it waits a few times more.

        Raises:
            ValueError: Actions of another shape, or NaN; of tensors that are NaN after the step, as they were used.
            gymnasium.error.ResetNeeded: An environment has not been reset since its episode ended.
        """
        action = self._checked(actions)
        self._require_episodes()
        to_be_reset = self._left_by_the_last_step()
        outcome = self.batch.step(action, None if to_be_reset is None else ~to_be_reset)
        if to_be_reset is not None:
            self.batch.reset(to_be_reset)
        observations, info = self.batch.observe(), outcome.info()
        if self._has_an_ending(outcome, action) and self.autoreset_mode is AutoresetMode.SAME_STEP:
            privileged = None if self.state_space is None else self.batch.observe_privileged(observations)
            info |= outcome.final_info(observations, privileged)
            observations = rows.replaced(observations, outcome.ended, self.batch.reset(outcome.ended))
        return observations, outcome.rewards, outcome.terminated, outcome.truncated, info

    def state(self) -> np.ndarray:
        """What a critic may see in training, (N, k) float32.

        The observation, then the blocks that the policy does not observe, without noise, then `Task.privileged`.

        Raises:
            RuntimeError: The task tells a critic no more than the policy.
        """
        if self.state_space is None:
            raise RuntimeError(
                "this task tells a critic no more than the policy: there is no state beside observations"
            )
        return self.batch.observe_privileged(self.batch.observe())

    def get_state(self) -> dict[str, np.ndarray]:
        """The whole state, random streams included, as a flat dictionary of arrays; `set_state` goes on from it.

        They are NumPy's, of one form, whatever `arrays` and the engine are.
        """
        self._seed_if_never_seeded()
        return self.batch.save()

    def set_state(self, state: dict[str, np.ndarray]) -> np.ndarray:
        """Goes on from what `get_state` gave, bit for bit.

        Returns:
            The observations in that state, (N, k) float32.

        Raises:
            ValueError: A state of another task or number of environments, or with edited positions that would be
                ignored.
        """
        own = self.get_state()
        arguments.saved_state(state, own)
        if self.arrays == "torch" and state["ended"].any():
            raise ValueError(
                f"state 'ended' has environments {some(state['ended'])}, whose episodes have ended; with "
                "arrays='torch' all are in one: reset these before the state is saved"
            )
        self.batch.load(state)
        foreign = (state["key"] != own["key"]).any(axis=1)
        self._seeds = [-1 if unknown else seed for seed, unknown in zip(self._seeds, foreign, strict=True)]
        self._was_seeded = self._was_reset = True
        return self.batch.observe()

    def render(self) -> tuple[np.ndarray, ...] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Pictures of all environments, each (height, width, 3) uint8; None, with a warning, without a render mode."""
        if self.render_mode is None:
            return warn_of_no_render_mode(self.spec)
        return tuple(self.render_envs(range(self.num_envs)))

    def render_envs(self, envs: Sequence[int]) -> list[np.ndarray]:
        """Pictures of some environments, each (height, width, 3) uint8.

        Raises:
            RuntimeError: The environment was made without ``render_mode="rgb_array"``.
            motrix_gym.rendering.RenderingUnavailable: There is no OpenGL here.
        """
        from motrix_gym.rendering import EnvRenderer

        if self.render_mode is None:
            raise RuntimeError('there are no frames: make the environment with render_mode="rgb_array"')
        self._seed_if_never_seeded()
        pictures = []
        for env in envs:
            model, own_model, data = self.batch.view(env)
            if id(model) not in self._renderers:
                self._renderers[id(model)] = EnvRenderer(model, *self.render_size, camera=self.render_camera)
            pictures.append(self._renderers[id(model)].frame(data, own_model))
        return pictures

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """An attribute, or a method's result, for every environment, as in Gymnasium's own vector environments.

        Spaces are those of one environment, and each environment has its own row of `state`.
        """
        value = getattr(self, _OF_ONE.get(name, name))
        result: Any = value(*args, **kwargs) if callable(value) else value
        if result is None or name not in _BY_ENV:
            return (result,) * self.num_envs
        return tuple(result)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute for every environment."""
        return self.call(name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Has `pickle` and `copy` make an environment of the same arguments, which goes on from the state of this."""
        copied = {name: getattr(self, name) for name in _COPIED}
        saved = self.batch.save() if self._was_seeded else None
        return _made, (type(self), self._arguments()), copied | {"saved": saved}

    def __setstate__(self, copied: dict[str, Any]) -> None:
        saved = copied.pop("saved")
        if saved is not None:
            self.batch.load(saved)
        vars(self).update(copied)

    def close_extras(self, **kwargs: Any) -> None:
        """Frees the renderers."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _arguments(self) -> dict[str, Any]:
        """The arguments that make such an environment once more."""
        raise NotImplementedError

    def _checked(self, actions: Any) -> Array:
        space, example = self.batch.action_space, self.batch.example
        if self.arrays == "torch":
            return arguments.tensor_actions(actions, space, self.num_envs, example)
        return arguments.actions(actions, space, self.num_envs)

    def _left_by_the_last_step(self) -> Array | None:
        """The environments, (N,) bool, that next-step autoreset resets in this step; None where there is none."""
        if self.autoreset_mode is not AutoresetMode.NEXT_STEP or not self.batch.ended.any():
            return None
        return self.batch.ended

    def _has_an_ending(self, outcome: Outcome, action: Array) -> bool:
        """Whether an episode ended. Tensors of actions are looked for NaN here, so that the host waits but once.

        Raises:
            ValueError: An action is NaN; then all environments are to be reset.
        """
        if self.arrays == "numpy":
            return bool(outcome.ended.any())
        nan = arguments.nan_in(action)
        if not (outcome.ended | nan).any():
            return False
        self._was_reset = False
        arguments.refuse_nan(nan)
        self._was_reset = True
        return True

    def _require_episodes(self) -> None:
        if not self._was_reset:
            raise gym.error.ResetNeeded("no episode has begun; call reset() before step()")
        if self.arrays == "torch":
            return  # same-step autoreset leaves no environment behind, and to ask a device takes time
        ended = self.batch.ended
        if ended.any() and self.autoreset_mode is not AutoresetMode.NEXT_STEP:
            raise gym.error.ResetNeeded(
                f"environments {some(ended)} have ended; call reset(), or "
                'reset(options={"reset_mask": terminated | truncated}) for just those'
            )

    def _seed(self, seed: int | Sequence[int | None] | None, mask: np.ndarray) -> None:
        if seed is None:
            self._seed_if_never_seeded()
            return
        seeds = arguments.seeds(seed, self.num_envs)
        given = {int(env): s for env in np.flatnonzero(mask) if (s := seeds[env]) is not None}
        if len(given) < self.num_envs:
            self._seed_if_never_seeded()
        if given:
            self.batch.seed(given)
            self._seeds = [given.get(env, old) for env, old in enumerate(self._seeds)]
        self._was_seeded = True

    def _seed_if_never_seeded(self) -> None:
        if not self._was_seeded:
            self._seed(int(np.random.SeedSequence().generate_state(1, np.uint64)[0]), np.ones(self.num_envs, bool))


def _made(cls: type[BatchVectorEnv], arguments: dict[str, Any]) -> BatchVectorEnv:
    return cls(**arguments)


def warn_of_no_render_mode(spec: EnvSpec | None) -> None:
    """Warns, as Gymnasium's environments do, that an environment without a render mode draws nothing."""
    name = "id" if spec is None else f'"{spec.id}"'
    gym.logger.warn(
        "You are calling render method without specifying any render mode. You can specify the render_mode at "
        f'initialization, e.g. gymnasium.make({name}, render_mode="rgb_array")'
    )
