"""Three things that hold bit for bit, each shown. It takes a minute or two and needs `motrix-gym[torch]`.

1. An environment depends on its own seed and actions: not on how many others there are, nor on the threads.
2. A saved state goes on in the middle of an episode, in another environment, as if nothing had happened.
3. A training that was killed and resumed has the policies of one that never was.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from motrix_train.storage import checkpoint

GO1 = "motrix_gym:Motrix/Go1-v0"
STEPS, MANY, FEW = 200, 64, 3
TRAINER = [sys.executable, "-m", "motrix_train", "train"]
TINY = ["--num-envs", "64", "--max-env-steps", "32768", "--set", "rollouts=16", "--set", "check_point_interval=64"]


def main() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (STEPS, MANY, 12))

    many: Any = gymnasium.make_vec(GO1, num_envs=MANY, num_threads=2)
    few = gymnasium.make_vec(GO1, num_envs=FEW, num_threads=1)
    many.reset(seed=0)
    few.reset(seed=0)
    half = STEPS // 2
    in_many = play(many, actions[:half])
    same("alone and in a batch", play(few, actions[:half, :FEW]), in_many[:, :FEW])

    other: Any = gymnasium.make_vec(GO1, num_envs=MANY)
    other.unwrapped.set_state(many.unwrapped.get_state())
    same("with a saved state", play(other, actions[half:]), play(many, actions[half:]))

    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder, "whole"), Path(folder, "killed")
        subprocess.run([*begin(whole), "--quiet"], check=True, stdout=subprocess.DEVNULL)
        steps = kill_halfway(killed)
        subprocess.run([*TRAINER, "--resume", str(killed), "--quiet"], check=True, stdout=subprocess.DEVNULL)
        print(f"   killed with the policy of {steps:,} env steps on the disk, and resumed")
        same("killed and resumed", policies(killed), policies(whole))


def play(envs: gymnasium.vector.VectorEnv, actions: np.ndarray) -> np.ndarray:
    """Observations and rewards of each environment in each step, (steps, N, k + 1)."""
    results = [envs.step(action)[:2] for action in actions]
    return np.stack([np.column_stack(result) for result in results])


def begin(run: Path) -> list[str]:
    """The command of a small training into a directory."""
    return [*TRAINER, "Motrix/CartPole-v0", "--backend", "torch", "--seed", "0", "--run-dir", str(run), *TINY]


def kill_halfway(run: Path) -> int:
    """Kills a training, as a loss of power would, once it has written two policies; the env steps of the second."""
    training = subprocess.Popen(begin(run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (written := sorted(run.glob("checkpoints/step_*"), key=env_steps))[1:] and training.poll() is None:
        time.sleep(0.01)
    training.kill()
    if training.wait() == 0:
        raise SystemExit("the training ended before it could be killed: give it a longer budget")
    return env_steps(written[-1])


def env_steps(policy: Path) -> int:
    return int(policy.stem.removeprefix("step_"))


def policies(run: Path) -> dict[str, dict[str, bytes]]:
    """Every array of the policies that a training wrote, the best among them, normalizers included."""
    files = [path for name in ("best", "step_*") for path in run.glob(f"checkpoints/{name}.*")]
    return {path.stem: arrays(checkpoint.read(path).state) for path in files}


def arrays(state: dict[str, Any]) -> dict[str, bytes]:
    return {name: np.asarray(array).tobytes() for name, array in checkpoint.leaves(state)}


def same(what: str, here: np.ndarray | dict[str, Any], there: np.ndarray | dict[str, Any]) -> None:
    """Says that two things are equal to the last bit, or ends the script."""
    if isinstance(here, np.ndarray) and isinstance(there, np.ndarray):
        equal, size = here.tobytes() == there.tobytes(), f"{here.size:,} numbers"
    else:
        equal, size = here == there, f"{len(here)} policies: {', '.join(sorted(here))}"
    if not equal:
        raise SystemExit(f"{what}: NOT the same")
    print(f"{what}: the same bits, {size}")


if __name__ == "__main__":
    main()
