"""The entry point of `motrix-train`: works with the standard library alone, to say what else to install."""

from __future__ import annotations

import importlib.util
import sys

NEEDED = ("typer", "rich", "safetensors", "scipy", "tensorboard", "matplotlib", "imageio_ffmpeg")
REMEDY = 'pip install "motrix-gym[torch]" (or "motrix-gym[jax]"; "motrix-gym[play]" to use policies only)'


def main() -> int:
    """Runs the command line and returns its exit code."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"motrix-train: {', '.join(missing)} not installed: {REMEDY}", file=sys.stderr)
        return 2
    try:
        from motrix_train.cli import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
