"""The spaces that the networks of an agent are made for."""

from dataclasses import dataclass
from typing import Any

from gymnasium.spaces import Box


@dataclass(frozen=True)
class Spaces:
    """Of one environment."""

    observation: Box
    action: Box
    state: Box | None = None
    """Input of the value network, None if it sees the observation."""

    def by_argument(self) -> dict[str, Any]:
        """As the keyword arguments that SKRL's agents and models take."""
        return {"observation_space": self.observation, "state_space": self.state, "action_space": self.action}
