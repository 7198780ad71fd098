"""A dataclass is built from keyword arguments that its annotations take, and from no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from motrix_gym.fields import Ascending, Bound, Count, NonNegative, Positive, Range, Share, configured


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field of each kind."""

    size: int
    width: Positive = 1.0
    share: Share = 0.5
    angle: Annotated[float, Bound(low=0, high=3, above=True, below=True)] = 1.0
    limits: Range = (0.0, 1.0)
    delays: Annotated[tuple[Count, Count], Ascending()] = (0, 0)
    names: tuple[str, ...] = ()
    path: str | None = None
    mode: Literal["fast", "slow"] = "fast"
    noise: Mapping[str, NonNegative] = field(default_factory=dict)
    anything: Any = None


@dataclass(frozen=True, kw_only=True)
class Wide(Settings):
    """A subclass with another default."""

    width: float = 2.0


@pytest.mark.parametrize(
    "values",
    [
        {"size": 3},
        {"size": 3, "names": ["a", "b"]},
        {"size": 3, "names": []},
        {"size": 3, "path": "model.xml"},
        {"size": 3, "path": None},
        {"size": 3, "mode": "slow"},
        {"size": 3, "share": 1, "limits": [0, 0]},
        {"size": np.int64(3), "width": np.float32(0.5), "delays": np.array([1, 2])},
        {"size": 3, "noise": {"x": 0.0}, "anything": {"y": [1, "z"]}},
    ],
)
def test_values_that_the_annotations_take(values):
    built = configured(Settings, values)
    for name, value in values.items():
        found = getattr(built, name)
        assert found == (tuple(value) if isinstance(value, (list, np.ndarray)) else value) or name == "anything"


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({}, TypeError, "missing 1 required keyword-only argument: 'size'"),
        ({"size": "large"}, TypeError, "size is 'large'; it takes a whole number"),
        ({"size": 2.5}, ValueError, "size is 2.5; it takes a whole number"),
        ({"size": 3.0}, ValueError, "size is 3.0; it takes a whole number"),
        ({"size": True}, TypeError, "size is True; it takes a whole number"),
        ({"size": 3, "names": "a"}, TypeError, "names is 'a'; it takes a tuple (in JSON a list)"),
        ({"size": 3, "names": ["a", 1]}, TypeError, "names[1] is 1; it takes a string"),
        ({"size": 3, "path": 7}, TypeError, "path is 7; it takes a string or none"),
        ({"size": 3, "mode": "mad"}, TypeError, "mode is 'mad'; it takes one of 'fast', 'slow'"),
        ({"size": 3, "width": 0.0}, ValueError, "width is 0.0; it takes a number above 0"),
        ({"size": 3, "width": float("nan")}, TypeError, "width is nan; it takes a finite number"),
        ({"size": 3, "width": 10**400}, TypeError, "it takes a finite number"),
        ({"size": 3, "share": 1.5}, ValueError, "share is 1.5; it takes a number from 0 to 1"),
        ({"size": 3, "angle": 3.0}, ValueError, "angle is 3.0; it takes a number above 0, below 3"),
        ({"size": 3, "limits": [1.0]}, TypeError, "limits is (1.0,); it takes 2 values"),
        ({"size": 3, "limits": [1.0, 0.0]}, ValueError, "limits is (1.0, 0.0); it takes 2 values in ascending order"),
        ({"size": 3, "delays": [-1, 2]}, ValueError, "delays[0] is -1; it takes a whole number of at least 0"),
        ({"size": 3, "noise": 0.1}, TypeError, "noise is 0.1; it takes a mapping"),
        ({"size": 3, "noise": {1: 0.1}}, TypeError, "a key of noise is 1; it takes a string"),
        ({"size": 3, "noise": {"x": -1}}, ValueError, "noise['x'] is -1; it takes a number of at least 0"),
        ({"size": 3, "widht": 1.0}, TypeError, "unexpected keyword argument 'widht'; did you mean 'width'?"),
    ],
)
def test_values_that_they_do_not_take(values, error, message):
    with pytest.raises(error) as caught:
        configured(Settings, values)
    assert message in str(caught.value)


def test_another_default_keeps_the_limits():
    assert configured(Wide, {"size": 1}).width == 2.0
    with pytest.raises(ValueError, match="width is -1; it takes a number above 0"):
        configured(Wide, {"size": 1, "width": -1})
