"""Videos of the policy in training: when they are made, and that the training does not notice."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from motrix_train.cli import run
from motrix_train.config import PPOCfg
from motrix_train.storage import checkpoint
from motrix_train.storage.run_directory import RunDirectory
from motrix_train.training import video
from motrix_train.training.records import TrainingPlan

CARTPOLE = "Motrix/CartPole-v0"


def leaves(state) -> list[np.ndarray]:
    """The arrays of a nested state, in order."""
    if isinstance(state, dict):
        return [leaf for name in sorted(state) for leaf in leaves(state[name])]
    return [np.asarray(state)]


@pytest.mark.usefixtures("opengl")
def test_a_training_does_not_notice_that_it_is_filmed(work, tiny, monkeypatch):
    monkeypatch.setattr(video, "TRAINING_SECONDS", 0.2)
    for name, options in (("plain", ()), ("filmed", ("--video-every=1",))):
        assert run(["train", CARTPOLE, *tiny, f"--run-dir={name}", "-q", *options]) == 0
    plain, filmed = (RunDirectory(Path(name)) for name in ("plain", "filmed"))
    assert sorted(path.name for path in filmed.videos.iterdir()) == ["step_1024.mp4", "step_512.mp4"]
    assert b"ftyp" in (filmed.videos / "step_512.mp4").read_bytes()[:16]
    assert not plain.videos.exists()
    states = [leaves(checkpoint.read(made.checkpoint("last")).state) for made in (plain, filmed)]
    assert len(states[0]) > 4
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(plain.progress()["mean_return"], filmed.progress()["mean_return"])


@pytest.mark.usefixtures("opengl")
def test_a_resumed_run_is_filmed_on(work, tiny, monkeypatch):
    monkeypatch.setattr(video, "TRAINING_SECONDS", 0.1)
    assert run(["train", CARTPOLE, *tiny, "--run-dir=mine", "-q", "--video-every=2"]) == 0
    assert run(["train", "--resume=mine", "--max-env-steps=2048", "-q"]) == 0
    assert sorted(path.name for path in Path("mine/videos").iterdir()) == ["step_1024.mp4", "step_2048.mp4"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("every", "resumed_at"), [(1, 0), (2, 0), (3, 40), (2, 64)])
def test_every_kth_checkpoint_is_filmed_once(tmp_path, monkeypatch, every, resumed_at, workers):
    filmed = []
    monkeypatch.setattr(
        video, "film_policy", lambda policy, env_id, env_kwargs, path, **options: filmed.append(path.stem)
    )
    monkeypatch.setattr(video, "_frames", lambda env: ())
    callback = video.TrainingVideos(every, CARTPOLE, {})
    directory = RunDirectory.create(tmp_path, CARTPOLE, "torch", 0, {}, tmp_path / "run")
    plan = TrainingPlan(
        env_id=CARTPOLE,
        backend="torch",
        seed=0,
        cfg=PPOCfg(num_envs=4 // workers, check_point_interval=8, rollouts=2, mini_batches=1),
        total_env_steps=128,
        run=directory,
        env_steps=resumed_at,
        workers=workers,
        transfer=None,
        policy=np.asarray,
    )
    callback.started(plan)
    for env_steps in range(resumed_at + 8, 129, 8):
        callback.rollout(_stats(env_steps))
        callback.checkpoint_written(Path("best.safetensors"))
        if env_steps % 32 == 0:
            for stem in (f"step_{env_steps}", "last", "last"):
                callback.checkpoint_written(Path(f"{stem}.safetensors"))
    due = range(32 * every, 129, 32 * every)
    assert filmed == [f"step_{env_steps}" for env_steps in due if env_steps > resumed_at]
    assert directory.config()["video_every"] == every


def _stats(env_steps: int):
    from motrix_train.training.records import RolloutStats

    numbers = dict.fromkeys(RolloutStats.__dataclass_fields__, 0)
    return RolloutStats(**{**numbers, "env_steps": env_steps})  # pyright: ignore[reportArgumentType]


def test_an_encoder_that_fails_says_why(tmp_path):
    frames = (np.zeros((64, 64, 3), np.uint8) for _ in range(1000))
    with pytest.raises(OSError, match="No such file or directory"):
        video._write_mp4(frames, tmp_path / "nowhere" / "seen.mp4", 25.0)


@pytest.mark.parametrize("options", [(), ("--resume",)], ids=["new", "resumed"])
def test_without_opengl_nothing_is_begun(work, tiny, capsys, monkeypatch, options):
    target = [CARTPOLE, *tiny]
    if options:
        assert run(["train", CARTPOLE, *tiny, "--run-dir=mine", "-q"]) == 0
        target = ["--resume=mine", "--max-env-steps=4096"]
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    capsys.readouterr()
    monkeypatch.setenv("MUJOCO_GL", "off")
    assert run(["train", *target, "--video-every=1"]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert "MUJOCO_GL=off switches rendering off" in captured.err
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("opengl")
def test_size_camera_and_command_are_chosen(work):
    tiny = ("--num-envs=4", "--max-env-steps=1", "--set=rollouts=8", "--set=check_point_interval=8", "--num-threads=1")
    assert run(["train", "Motrix/Go1-v0", "--backend=torch", "--run-dir=go1", "-q", *tiny]) == 0
    shown = ("--video=play.png", "--steps=5", "--size=64x48", "--camera=track", "--command=0.5,0,0.2")
    assert run(["play", "go1", *shown]) == 0
    assert imread("play.png").shape[:2] == (48, 6 * 64)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--size=64", "--size 64: give a width and a height"),
        ("--size=9x9", "--size 9x9: give a width and a height of 16 to 4096"),
        ("--command=1,0", "--command 1,0: give m/s ahead"),
        ("--command=1,0,nan", "--command 1,0,nan: give m/s ahead"),
        ("--command=1,0,0", "unexpected keyword argument 'command_low'"),
        ("--camera=trakc", "did you mean 'track'?"),
    ],
)
def test_what_cannot_be_shown_is_refused(option: str, said: str, trained, work, capsys):
    assert run(["play", str(trained.path), "--video=play.png", option]) == 2
    assert said in capsys.readouterr().err
    assert not list(work.iterdir())
