"""How Hypothesis searches: the same examples in every run on a server, new ones on a desk; no clock."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("server", parent=settings.get_profile("desk"), derandomize=True)
settings.load_profile("server" if os.environ.get("CI") else "desk")
