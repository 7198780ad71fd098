"""Seeds realistic defects, one at a time, and shows which test catches each: ``python tests/mutants.py``.

Every defect is a change of a few characters in a copy of `src`. The tests that are named with it run against the copy,
and one of them has to fail. The table of docs/testing.md gets the rows of the defects that were tried.

    python tests/mutants.py                  all of them
    python tests/mutants.py delay mirror     those with one of these words in their name
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "testing.md"
TABLE = re.compile(r"(?<=<!-- defects -->\n).*?(?=<!-- end of defects -->)", re.DOTALL)
FAILED = re.compile(r"^(?:FAILED|ERROR) tests/(\S+?)(?:\[.*)?(?: - .*)?$", re.MULTILINE)
SECONDS = 900  # a test that hangs has noticed, too


class Mutant(NamedTuple):
    """A defect.

    Attributes:
        name: What is wrong.
        file: The file in `src`.
        old: What stands there, once.
        new: What the defect makes of it.
        tests: The arguments of pytest that are to fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str


LAWS = "gym/test_laws.py gym/test_vector_env.py gym/test_single_env.py -k CartPole-v0"
LEGS = "gym/test_laws.py -k Go1-v0"
ANY_ORDER = "gym/test_any_order.py"
CHECKED = "gym/test_check_task.py -k our_own_tasks and Go1"

MUTANTS = [
    Mutant("a weight is read twice", "motrix_gym/step.py", "weights[name] * term", "weights[name] ** 2 * term", LAWS),
    Mutant("the time limit is one step too late", "motrix_gym/step.py", "elapsed >= max", "elapsed > max", LAWS),
    Mutant(
        "an episode is terminated and truncated at once",
        "motrix_gym/step.py",
        "truncated = ~terminated & _out_of_time",
        "truncated = _out_of_time",
        LAWS,
    ),
    Mutant(
        "an environment that diverged shows what it diverged to",
        "motrix_gym/step.py",
        "next_physics = where(failed, state.physics, next_physics)",
        "pass",
        LAWS,
    ),
    Mutant(
        "divergence does not end the episode",
        "motrix_gym/step.py",
        "**failures}",
        "**{name: np.zeros_like(x) for name, x in failures.items()}}",
        LAWS,
    ),
    Mutant(
        "a start state that the task refused is kept",
        "motrix_gym/step.py",
        "invalid = rows.indices(~task.is_valid_start(new.physics))",
        "invalid = rows.indices(np.zeros(len(envs), dtype=bool))",
        "gym/test_beginnings.py",
    ),
    Mutant(
        "a step's random numbers are drawn again in the next",
        "motrix_gym/step.py",
        "        rng,\n        elapsed,\n        state.has_past,",
        "        state.rng,\n        elapsed,\n        state.has_past,",
        "gym/test_domain_randomization.py gym/test_velocity.py",
    ),
    Mutant(
        "all environments share the random stream of the first",
        "motrix_gym/batch.py",
        "stream_keys(list(seeds.values()))",
        "stream_keys([next(iter(seeds.values()))] * len(seeds))",
        LAWS,
    ),
    Mutant(
        "numbers that were drawn are drawn once more",
        "motrix_gym/random_streams.py",
        "self.counter = self.counter + np.uint64(blocks)",
        "self.counter = self.counter + np.uint64(0)",
        "gym/test_random_streams.py",
    ),
    Mutant(
        "uniform numbers fill half of their range",
        "motrix_gym/random_streams.py",
        "self.words(size) >> np.uint64(11)",
        "self.words(size) >> np.uint64(12)",
        "gym/test_random_streams.py",
    ),
    Mutant(
        "normal numbers have half the variance",
        "motrix_gym/random_streams.py",
        "xp.sqrt(-2 * xp.log1p",
        "xp.sqrt(-1 * xp.log1p",
        "gym/test_random_streams.py",
    ),
    Mutant(
        "the observation after a reset is the last one before it",
        "motrix_gym/batch_vector_env.py",
        "observations = rows.replaced(observations, outcome.ended, self.batch.reset(outcome.ended))",
        "self.batch.reset(outcome.ended)",
        LAWS,
    ),
    Mutant(
        "the last observation of an episode is overwritten by the reset",
        "motrix_gym/batch_vector_env.py",
        "observations = rows.replaced(observations, outcome.ended, self.batch.reset(outcome.ended))",
        "observations[outcome.ended] = self.batch.reset(outcome.ended)",
        LAWS,
    ),
    Mutant(
        "the action after an end acts on the new episode",
        "motrix_gym/batch_vector_env.py",
        "None if to_be_reset is None else ~to_be_reset",
        "None",
        LAWS,
    ),
    Mutant(
        "a step overwrites the tensors of the one before",
        "motrix_gym/physics/warp_arrays.py",
        "x[envs] if envs is not ... else x.clone()",
        "x[envs] if envs is not ... else x",
        "gym/test_torch_arrays.py",
    ),
    Mutant(
        "an episode that was cut on a device is counted on",
        "motrix_train/training/device_statistics.py",
        "episodes.discard(cut)",
        "pass",
        "train/test_device_training.py -k numpys_arrays",
    ),
    Mutant(
        "a partial reset resets all",
        "motrix_gym/batch_vector_env.py",
        "self.batch.reset(rows.from_host(mask, self.batch.example))",
        "self.batch.reset(rows.from_host(np.ones_like(mask), self.batch.example))",
        LAWS,
    ),
    Mutant(
        "a partial reset seeds all",
        "motrix_gym/batch_vector_env.py",
        "for env in np.flatnonzero(mask) if",
        "for env in range(self.num_envs) if",
        ANY_ORDER,
    ),
    Mutant(
        "a copy does not know its seeds",
        "motrix_gym/batch_vector_env.py",
        '_COPIED = ("_spec", "_seeds", "_was_seeded"',
        '_COPIED = ("_spec", "_was_seeded"',
        ANY_ORDER,
    ),
    Mutant(
        "a restored environment has the model of the last episode",
        "motrix_gym/batch.py",
        "        self._put_state(from_arrays(arrays, like=self.state))",
        "        self.state = from_arrays(arrays, like=self.state)",
        ANY_ORDER,
    ),
    Mutant(
        "actions are not clipped",
        "motrix_gym/arguments.py",
        "return np.clip(action, space.low, space.high)",
        "return action",
        "gym/test_vector_env.py -k outside_the_space",
    ),
    Mutant(
        "a saved state forgets what warm-starts the solver",
        "motrix_gym/physics/cpu.py",
        "self._batch.state[:] = simulation",
        'self._batch.state[:] = simulation; self._batch.bind("qacc_warmstart")[:] = 0',
        LEGS,
    ),
    Mutant(
        "what a step returned is written to by the next",
        "motrix_gym/physics/cpu.py",
        "(np.array(x[envs]) for x in",
        "(x[envs] for x in",
        "gym/test_physics.py",
    ),
    Mutant(
        "constants that depend on a mass stay as they were",
        "motrix_gym/physics/cpu.py",
        "self._batch.set_const(envs)",
        "pass",
        "gym/test_domain_randomization.py",
    ),
    Mutant(
        "a push acts on the next body",
        "motrix_gym/physics/cpu.py",
        "self.model.body(body).id] = push",
        "self.model.body(body).id + 1] = push",
        "gym/test_physics.py",
    ),
    Mutant(
        "yaw turns the wrong way",
        "motrix_gym/rotations.py",
        "xp.atan2(2 * (x * y + w * z)",
        "xp.atan2(2 * (x * y - w * z)",
        "gym/test_rotations.py",
    ),
    Mutant(
        "the yaw of a robot is right while it stands level",
        "motrix_gym/rotations.py",
        "xp.atan2(2 * (x * y + w * z), w * w + x * x - y * y - z * z)",
        "2 * xp.atan2(z, w) + 0 * (x + y)",
        "gym/test_rotations.py",
    ),
    Mutant(
        "a rotation has one sign wrong",
        "motrix_gym/rotations.py",
        "2 * (x * y - w * z), 2 * (x * z + w * y)]",
        "2 * (x * y + w * z), 2 * (x * z + w * y)]",
        "gym/test_rotations.py",
    ),
    Mutant(
        "a reward falls with the distance, not with its square",
        "motrix_gym/rewards.py",
        '"gaussian": lambda d, v: v ** (d**2)',
        '"gaussian": lambda d, v: v**d',
        "gym/test_rewards.py",
    ),
    Mutant(
        "a reward rises again far from its target",
        "motrix_gym/rewards.py",
        "xp.minimum(d * float(np.acos(2 * v - 1)), np.pi)",
        "d * np.acos(2 * v - 1)",
        "gym/test_rewards.py",
    ),
    Mutant(
        "whoever is off target earns more than 1",
        "motrix_gym/rewards.py",
        "xp.exp(-sum_squares(target - value) / variance)",
        "xp.exp(sum_squares(target - value) / variance)",
        "gym/test_rewards.py gym/test_laws.py -k Go1-v0 or bounded",
    ),
    Mutant(
        "the mirror image of an action keeps its signs",
        "motrix_gym/tasks/locomotion/velocity.py",
        "            action=joints,\n            blocks=blocks,",
        "            action=Flip(joints.index, np.abs(joints.sign)),\n            blocks=blocks,",
        CHECKED,
    ),
    Mutant(
        "the mirror image of a command turns the same way",
        "motrix_gym/tasks/locomotion/velocity.py",
        '"command": MIRRORED_COMMAND,',
        '"command": POLAR,',
        CHECKED,
    ),
    Mutant(
        "the mirror image of a gait lifts the same feet",
        "motrix_gym/tasks/locomotion/velocity.py",
        "phase=(state.phase + 0.5) % 1.0",
        "phase=state.phase",
        CHECKED,
    ),
    Mutant(
        "the mirror image of a joint keeps its name",
        "motrix_gym/symmetry.py",
        "[flip.index + start for flip, start",
        "[flip.index + 0 * start for flip, start",
        CHECKED,
    ),
    Mutant(
        "a reward term compares the action with itself",
        "motrix_gym/tasks/locomotion/velocity.py",
        "rewards.sum_squares(t.action - t.state.action)",
        "rewards.sum_squares(t.action - t.action)",
        LEGS,
    ),
    Mutant(
        "the time in the air is cleared before it is read",
        "motrix_gym/tasks/locomotion/velocity.py",
        "landed = self.in_contact(t.next_physics) & (t.state.air_time > 0)",
        "landed = self.in_contact(t.next_physics) & (t.state.air_time > 0) & ~self.in_contact(t.next_physics)",
        "gym/test_velocity.py",
    ),
    Mutant(
        "a step is rewarded for the command of the next",
        "motrix_gym/tasks/locomotion/velocity.py",
        "return rewards.tracking(t.state.command[:, 2:], yaw_rate",
        "return rewards.tracking(np.roll(t.state.command[:, 2:], 1, axis=0), yaw_rate",
        LEGS,
    ),
    Mutant(
        "gravity is seen in the world's axes",
        "motrix_gym/tasks/locomotion/velocity.py",
        '"gravity": physics.sensor["gravity_direction"],',
        '"gravity": np.zeros_like(physics.sensor["gravity_direction"]) - np.array([0.0, 0.0, 1.0]),',
        "gym/test_velocity.py gym/test_laws.py -k Go1-v0 or gravity",
    ),
    Mutant(
        "a velocity is seen in the world's axes",
        "motrix_gym/tasks/locomotion/velocity.py",
        '"linear_velocity": physics.sensor["linear_velocity"],',
        '"linear_velocity": physics.qvel[:, :3],',
        "gym/test_invariance.py -k Go1",
    ),
    Mutant(
        "a goal is seen in the world's axes",
        "motrix_gym/tasks/navigation/goal.py",
        "return xp.stack([xp.sum(way * ahead, axis=1), xp.sum(way * leftward, axis=1)], axis=1)",
        "return way",
        "gym/test_invariance.py -k Navigation",
    ),
    Mutant(
        "a level of the terrain never sinks",
        "motrix_gym/tasks/locomotion/velocity.py",
        "xp.where(failed, -1, 0)",
        "xp.where(failed, 0, 0)",
        "gym/test_terrain.py",
    ),
    Mutant(
        "an episode that ended by a fall counts as mastered",
        "motrix_gym/tasks/locomotion/velocity.py",
        "mastered = ~last.fell & (last.walked",
        "mastered = (last.walked",
        "gym/test_terrain.py",
    ),
    Mutant(
        "the critic sees the noise",
        "motrix_gym/tasks/locomotion/velocity.py",
        '**{f"true_{name}": noiseless[name] for',
        '**{f"true_{name}": noiseless[name] + self.noise(state)[name] for',
        "gym/test_domain_randomization.py gym/test_observed.py",
    ),
    Mutant(
        "the delay of the actions is one step short",
        "motrix_gym/tasks/locomotion/domain_randomization.py",
        'self.sampled("action_delay", state)[:, :, None]',
        'xp.maximum(self.sampled("action_delay", state) - 1, 0)[:, :, None]',
        "gym/test_domain_randomization.py",
    ),
    Mutant(
        "an encoder's offset is taken off where it is to be added",
        "motrix_gym/tasks/locomotion/legged_task.py",
        "self.delayed(state, action) + self.offset(state)",
        "self.delayed(state, action) - self.offset(state)",
        "gym/test_domain_randomization.py",
    ),
    Mutant(
        "a heavier trunk keeps its inertia",
        "motrix_gym/tasks/locomotion/domain_randomization.py",
        "xp.like(trunk.inertia, added) * (total / mass)",
        "xp.like(trunk.inertia, added) * (total / total)",
        "gym/test_domain_randomization.py",
    ),
    Mutant(
        "the history runs backwards",
        "motrix_gym/observation.py",
        "xp.concat([state.past_observations, frame[:, None, :]], axis=1)",
        "xp.concat([frame[:, None, :], state.past_observations], axis=1)",
        "gym/test_observed.py",
    ),
    Mutant(
        "the height of the ground is that of the next cell",
        "motrix_gym/terrain.py",
        "column, row = xp.integers(cell",
        "row, column = xp.integers(cell",
        "gym/test_terrain.py",
    ),
    Mutant(
        "a truncation is bootstrapped from the next episode",
        "motrix_train/learning/agent.py",
        "    after[envs] = values\n",
        "",
        "train/test_truncation_bootstrap.py -k torch",
    ),
    Mutant(
        "a truncation counts as a termination",
        "motrix_train/learning/agent.py",
        "if not self._bootstraps:",
        "if self._bootstraps:",
        "train/test_truncation_bootstrap.py -k torch",
    ),
    Mutant(
        "SAC learns from transitions that it should have forgotten",
        "motrix_train/learning/replay.py",
        "(drawn + (self.index - steps) * self.num_envs)",
        "drawn",
        "train/test_sac.py -k newest",
    ),
    Mutant(
        "a return of several steps goes on in the next episode",
        "motrix_train/learning/replay.py",
        "goes_on & ~ended[:, 0] & (step <= newest)",
        "goes_on & (step <= newest)",
        "train/test_sac.py -k spans",
    ),
    Mutant(
        "transitions of a checkpoint are overwritten before the next one",
        "motrix_train/learning/backend.py",
        "cfg.check_point_interval + 2 * cfg.rollouts,",
        "0,",
        "train/test_sac.py -k torch and just_before",
    ),
    Mutant(
        "the last part of a mini-batch gives no gradient",
        "motrix_train/learning/torch/parts.py",
        "sum(of_parts[1:], of_parts[0])",
        "sum(of_parts[1:-1], of_parts[0])",
        "train/test_parts.py -k whole",
    ),
    Mutant(
        "the normalizer of SAC learns from what is drawn from the memory",
        "motrix_train/learning/torch/sac.py",
        'inputs = normalized_inputs(self, batch["observations"], batch["states"])',
        'inputs = {"observations": self._observation_preprocessor(batch["observations"], train=True)}',
        "train/test_sac.py -k torch and normalizer",
    ),
    Mutant(
        "a file's policy normalizes other than its training",
        "motrix_train/learning/policy.py",
        'np.sqrt(_float32(normalizer["variance"]))',
        '_float32(normalizer["variance"])',
        "train/test_checkpoint.py -k alike",
    ),
    Mutant(
        "a mirrored policy averages with the action of the image",
        "motrix_train/learning/symmetry.py",
        "return (own + self.action(image)) / 2",
        "return (own + image) / 2",
        "train/test_mirror.py -k torch",
    ),
    Mutant(
        "normalizers forget how far images lie apart",
        "motrix_train/learning/symmetry.py",
        "(variance + variance[..., self.index]) / 2 + between",
        "(variance + variance[..., self.index]) / 2",
        "train/test_mirror.py",
    ),
    Mutant(
        "an evaluation counts second episodes",
        "motrix_train/training/evaluation.py",
        "returns += np.where(running, rewards, 0.0)",
        "returns += rewards",
        "train/test_evaluation.py",
    ),
    Mutant(
        "an evaluation plays the episodes of the training",
        "motrix_train/training/evaluation.py",
        "np.random.SeedSequence([SEED_WORD, seed]).generate_state(1, np.uint64)[0] >> np.uint64(1)",
        "seed",
        "train/test_evaluation.py",
    ),
    Mutant(
        "the luckiest policy is the best",
        "motrix_train/training/best_policy.py",
        "highest - math.hypot(standard_error, error_of_highest)",
        "highest",
        "train/test_training.py -k best_policy",
    ),
    Mutant(
        "a resumed run skips an update",
        "motrix_train/training/loop.py",
        'self.updates = int(resume_state["updates"])',
        'self.updates = int(resume_state["updates"]) + 1',
        "train/test_resume.py -k torch",
    ),
    Mutant(
        "a resumed run has other random numbers",
        "motrix_train/training/loop.py",
        'self._backend.set_random_state(self.agent, own["random"])',
        "pass",
        "train/test_resume.py -k torch",
    ),
    Mutant(
        "a resumed run forgets its running episodes",
        "motrix_train/training/collector.py",
        'self.episodes.restore(state["episodes"])',
        "pass",
        "train/test_resume.py -k torch",
    ),
    Mutant(
        "the moments of two workers lie too close together",
        "motrix_train/distributed.py",
        "between = ((means - mean) ** 2).sum(axis=0) * count",
        "between = ((means - mean) ** 2).sum(axis=0)",
        "train/test_distributed.py -k moments or pool",
    ),
    Mutant(
        "threads of a process group outlive Python",
        "motrix_train/learning/torch/process_group.py",
        'importlib.import_module("torch._dynamo")',
        "pass",
        "train/test_distributed.py -k two_workers and torch",
    ),
    Mutant(
        "a field reaches SKRL under the name of another",
        "motrix_train/learning/skrl_mapping.py",
        '"gae_lambda": cfg.gae_lambda',
        '"gae_lambda": cfg.discount_factor',
        "train/test_skrl_mapping.py",
    ),
    Mutant(
        "a file is written in its place",
        "motrix_train/storage/files.py",
        "            yield temporary\n",
        "            path.unlink(missing_ok=True)\n            yield temporary\n",
        "train/test_checkpoint.py -k refusing_disk",
    ),
]


def run(mutant: Mutant) -> str | None:
    """The first test that fails with a defect; None where none does.

    Raises:
        ValueError: What the defect changes does not stand in its file, or more than once.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = shutil.copytree(ROOT / "src", Path(folder) / "src", ignore=shutil.ignore_patterns("__pycache__"))
        (source / mutant.file).write_text(changed(mutant), encoding="utf-8")
        return first_failure(mutant.tests, source)


def first_failure(tests: str, source: Path) -> str | None:
    """The first of some tests that fails with the code in `source`; None where all pass."""
    names, _, words = tests.partition(" -k ")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", "-rfE"]
    command += ["--hypothesis-profile", "defects"]
    command += [f"tests/{name}" for name in names.split()] + (["-k", words] if words else [])
    environment = {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "CI": "true", "COLUMNS": "400"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return "a test that no longer ends"
    if done.returncode in (0, 5):  # passed, or no test chosen
        return None
    found = FAILED.search(done.stdout)
    return found[1] if found else done.stdout[-500:] + done.stderr[-500:]


def changed(mutant: Mutant) -> str:
    """The text of the file with the defect."""
    text = (ROOT / "src" / mutant.file).read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.file} has {text.count(mutant.old)} times, not once: {mutant.old}")
    return text.replace(mutant.old, mutant.new)


def write(tried: dict[str, str]) -> None:
    """Puts the lines of defects that were tried, by name, into the table; the others keep theirs."""
    page = PAGE.read_text(encoding="utf-8")
    heading, rule, *known = TABLE.search(page)[0].splitlines(keepends=True)
    line_of = {line[2:].partition(" | ")[0]: line for line in known} | tried
    table = [heading, rule, *(line_of[mutant.name] for mutant in MUTANTS if mutant.name in line_of)]
    PAGE.write_text(TABLE.sub(lambda _: "".join(table), page), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="of the names of the defects; by default all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if not args.words or any(word in mutant.name for word in args.words)]
    lines = []
    with ThreadPoolExecutor(args.jobs) as pool:
        sets = sorted({mutant.tests for mutant in chosen})
        for tests, failed in zip(sets, pool.map(lambda tests: first_failure(tests, ROOT / "src"), sets), strict=True):
            if failed:
                sys.exit(f"without a defect, {failed} fails; mend it first")
            print(f"without a defect, {tests} pass", flush=True)
        for mutant, caught in zip(chosen, pool.map(run, chosen), strict=True):
            print(f"{mutant.name}: {caught or 'NOT CAUGHT'}", flush=True)
            lines.append(f"| {mutant.name} | `{mutant.file}` | {f'`{caught}`' if caught else '**none**'} |\n")
    survivors = sum("**none**" in line for line in lines)
    write({mutant.name: line for mutant, line in zip(chosen, lines, strict=True)})
    sys.exit(f"{survivors} of {len(chosen)} defects were not caught" if survivors else None)


if __name__ == "__main__":
    main()
