"""Several trainings one after the other."""
