"""The return that the preset of an environment is known to reach: the best run of ``benchmarks/learning``."""

import functools
import json
from importlib.resources import files

FILE = "reference.json"


def reference(env_id: str) -> float | None:
    """The mean return of the best policy that was measured, over 256 fresh episodes; None where none was.

    Args:
        env_id: A registered id, without a ``module:`` prefix.
    """
    return _returns().get(env_id)


@functools.cache
def _returns() -> dict[str, float]:
    return json.loads(files("motrix_train.presets").joinpath(FILE).read_text(encoding="utf-8"))
