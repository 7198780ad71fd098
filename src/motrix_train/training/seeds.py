"""The seeds of one run."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

SEED_WORD = 0x74726169  # the environments of a training differ from those of an evaluation of the same seed


@dataclass(frozen=True)
class Seeds:
    """The seeds of one run, far apart for neighbouring run seeds.

    Attributes:
        env: Environment i is seeded with ``env + i``; 63 bits.
        networks: Of the initial networks and the sampling; 32 bits, as much as SKRL takes.
        evaluation: Of the episodes of the evaluations; 63 bits.
    """

    env: int
    networks: int
    evaluation: int

    @classmethod
    def from_run_seed(cls, seed: int) -> Seeds:
        """Derives the seeds from the seed of the run."""
        env, networks, evaluation = np.random.SeedSequence([SEED_WORD, seed]).generate_state(3, np.uint64)
        return cls(env=int(env >> 1), networks=int(networks >> 32), evaluation=int(evaluation >> 1))

    def for_worker(self, rank: int, num_envs: int) -> Seeds:
        """The seeds of one of several workers.

        All workers together have the environments of a single process; each worker samples its own actions.
        """
        networks = np.random.SeedSequence([self.networks, rank]).generate_state(1)[0] if rank else self.networks
        return replace(self, env=self.env + rank * num_envs, networks=int(networks))
