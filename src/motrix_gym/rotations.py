"""Rotations as unit quaternions, w x y z."""

from __future__ import annotations

from motrix_gym import arrays as xp
from motrix_gym.arrays import Array
from motrix_gym.random_streams import RandomStreams


def uniform(rng: RandomStreams) -> Array:
    """A rotation for each random stream, any as likely as any other, (N, 4)."""
    turn = rng.normal(4)  # of a direction that is uniform on the sphere in four dimensions, which are the rotations
    return turn / xp.vector_norm(turn, axis=1, keepdims=True)


def from_yaw(yaw: Array) -> Array:
    """The quaternions of turns by `yaw` about z; (N,) rad to (N, 4)."""
    zero = xp.zeros_like(yaw)
    return xp.stack([xp.cos(yaw / 2), zero, zero, xp.sin(yaw / 2)], axis=-1)


def yaw(quaternion: Array) -> Array:
    """The angle about z from the world's x axis to the turned one, seen from above; (N, 4) to (N,) rad."""
    w, x, y, z = (quaternion[..., i] for i in range(4))
    return xp.atan2(2 * (x * y + w * z), w * w + x * x - y * y - z * z)


def matrix(quaternion: Array) -> Array:
    """The matrices that turn vectors as the quaternions do; (N, 4) to (N, 3, 3)."""
    w, x, y, z = (quaternion[..., i] for i in range(4))
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def wrapped(angle: Array) -> Array:
    """The same directions as angles in [-pi, pi], in the shape of `angle`, rad."""
    return xp.atan2(xp.sin(angle), xp.cos(angle))
