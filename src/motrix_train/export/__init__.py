"""A policy as a file for other programs."""
