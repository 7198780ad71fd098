"""Rows that start together do not stay together, and what their first episode is cut to is not taken for an end."""

import itertools
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from test_resume import TINY, Stopper, job

from motrix_train.learning.agent import Agent, successors
from motrix_train.training.episode_cuts import FirstEpisodeCuts
from motrix_train.training.run import train_run

LIMIT = 24


@given(num_envs=st.integers(1, 300), limit=st.integers(1, 200), seed=st.integers(0, 2**63))
def test_each_row_is_cut_at_most_once_and_the_moments_are_spread_evenly(num_envs: int, limit: int, seed: int):
    cuts = FirstEpisodeCuts(num_envs, limit, seed)
    due = np.array([cuts.after(step) for step in range(1, limit)]).reshape(-1, num_envs)
    assert (due.sum(axis=0) <= 1).all()
    every_step = due.sum(axis=1)
    assert every_step.max(initial=0) - every_step.min(initial=num_envs) <= 1
    assert not cuts.after(limit).any()


def recorded(tmp_path, monkeypatch, **changes) -> list[tuple[np.ndarray, ...]]:
    """The transitions of a short training in which no episode terminates."""
    seen, record, act = [], Agent.record, Agent.act

    def acting(self, observations, states):
        seen.append((observations,))
        return act(self, observations, states)

    def recording(self, rewards, observations, terminated, truncated, infos, states):
        seen[-1] += observations, truncated.copy(), successors(observations, infos)
        record(self, rewards, observations, terminated, truncated, infos, states)

    monkeypatch.setattr(Agent, "act", acting)
    monkeypatch.setattr(Agent, "record", recording)
    cfg = replace(TINY, num_envs=6, max_env_steps=6 * 16 * 6, evaluation_interval=0, **changes)
    pendulum = replace(job("torch", cfg), env_id="Motrix/Pendulum-v0", env_kwargs={"max_episode_steps": LIMIT})
    run = pendulum.create_run("", tmp_path / "run")
    train_run(run, Stopper())
    lengths = run.progress()["mean_episode_length"]
    assert set(lengths[np.isfinite(lengths)]) == {LIMIT}  # what was cut is no episode in the statistics
    return seen


def test_episodes_end_at_all_times_and_go_on_in_thought(tmp_path, monkeypatch):
    seen = recorded(tmp_path, monkeypatch)
    ends = np.array([truncated for _, _, truncated, _ in seen])  # (steps, N)
    first = ends.argmax(axis=0) + 1
    assert sorted(first) == [4, 8, 12, 16, 20, LIMIT]
    for row, moment in enumerate(first):
        assert np.flatnonzero(ends[:, row]).tolist() == list(range(moment - 1, len(ends), LIMIT))
    for (_, after, truncated, successor), (before, *_) in itertools.pairwise(seen):
        assert np.array_equal(after, before)
        assert np.array_equal(successor[~truncated], after[~truncated])
        speeds = np.abs(successor[truncated, -1] - after[truncated, -1])
        assert (speeds > 1e-6).all()  # the true last observation, and not the first of the next episode


def test_without_it_all_rows_end_together(tmp_path, monkeypatch):
    seen = recorded(tmp_path, monkeypatch, staggered_starts=False)
    assert {int(truncated.sum()) for _, _, truncated, _ in seen} == {0, 6}
