"""Rotations: what MuJoCo computes, and the laws of a group."""

import mujoco
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from motrix_gym import rotations

ANGLES = st.floats(-10.0, 10.0)


def some_rotations(seed: int, n: int = 5) -> np.ndarray:
    """Unit quaternions, (n, 4)."""
    q = np.random.default_rng(seed).normal(size=(n, 4))
    return q / np.linalg.norm(q, axis=1, keepdims=True)


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The quaternions of turning by b, then by a."""
    result = np.zeros((len(a), 4))
    for each, x, y in zip(result, a, b, strict=True):
        mujoco.mju_mulQuat(each, x, y)
    return result


@given(seed=st.integers(0, 10**6))
def test_a_matrix_is_that_of_mujoco_and_turns_without_stretching(seed):
    q = some_rotations(seed)
    expected = np.zeros((len(q), 9))
    for each, x in zip(expected, q, strict=True):
        mujoco.mju_quat2Mat(each, x)
    matrices = rotations.matrix(q)
    np.testing.assert_allclose(matrices, expected.reshape(-1, 3, 3), atol=1e-12)
    np.testing.assert_allclose(
        matrices @ matrices.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (5, 3, 3)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(matrices), 1.0)


@given(seed=st.integers(0, 10**6))
def test_one_turn_after_another_is_the_product(seed):
    a, b = some_rotations(seed), some_rotations(seed + 1)
    np.testing.assert_allclose(rotations.matrix(product(a, b)), rotations.matrix(a) @ rotations.matrix(b), atol=1e-12)
    back = a * np.array([1.0, -1.0, -1.0, -1.0])
    np.testing.assert_allclose(rotations.matrix(product(a, back)), np.broadcast_to(np.eye(3), (5, 3, 3)), atol=1e-12)


@given(a=ANGLES, b=ANGLES)
def test_turns_about_z_add_up(a, b):
    q = product(*(rotations.from_yaw(np.array([angle])) for angle in (a, b)))
    np.testing.assert_allclose(rotations.wrapped(rotations.yaw(q) - (a + b)), 0.0, atol=1e-9)


@given(seed=st.integers(0, 10**6))
def test_yaw_is_where_the_x_axis_points_from_above(seed):
    q = some_rotations(seed)
    ahead = rotations.matrix(q)[:, :, 0]
    np.testing.assert_allclose(rotations.yaw(q), np.arctan2(ahead[:, 1], ahead[:, 0]), atol=1e-9)


@given(angle=ANGLES, turns=st.integers(-3, 3))
def test_whole_turns_change_no_direction(angle, turns):
    found = rotations.wrapped(np.array([angle + 2 * np.pi * turns]))
    assert -np.pi <= found[0] <= np.pi
    np.testing.assert_allclose([np.cos(found[0]), np.sin(found[0])], [np.cos(angle), np.sin(angle)], atol=1e-9)
