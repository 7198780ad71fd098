"""Rotations: what MuJoCo computes, and the laws of a group."""

import mujoco
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from motrix_gym import rotations
from motrix_gym.random_streams import RandomStreams, stream_keys

ANGLES = st.floats(-10.0, 10.0)
PARTS = st.floats(-1.0, 1.0) | st.sampled_from([0.0, 1.0, -1.0, 1e-9])
ROTATIONS = (  # unit quaternions, (1, 4): whole and half turns and turns by next to nothing among them
    st.tuples(PARTS, PARTS, PARTS, PARTS)
    .map(lambda parts: np.array([parts]))
    .filter(lambda q: np.linalg.vector_norm(q) > 0.1)
    .map(lambda q: q / np.linalg.vector_norm(q))
)
IDENTITY = np.array([[1.0, 0.0, 0.0, 0.0]])
INVERSE = np.array([1.0, -1.0, -1.0, -1.0])  # what the parts of a rotation are multiplied with for that back


def some_rotations(seed: int, n: int = 5) -> np.ndarray:
    """Unit quaternions, (n, 4)."""
    q = np.random.default_rng(seed).normal(size=(n, 4))
    return q / np.linalg.norm(q, axis=1, keepdims=True)


def about_z(angle: float) -> np.ndarray:
    """The matrix of a turn about z, (3, 3)."""
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def assert_same_rotation(a: np.ndarray, b: np.ndarray) -> None:
    """Two quaternions, (1, 4), are equal but for their sign."""
    np.testing.assert_allclose(np.sign(a[0] @ b[0]) * a, b, atol=1e-9)


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


@given(a=ROTATIONS, b=ROTATIONS, c=ROTATIONS)
def test_rotations_are_a_group_and_their_matrices_are_too(a, b, c):
    matrix = rotations.matrix
    np.testing.assert_allclose(matrix(product(a, b)), matrix(a) @ matrix(b), atol=1e-12)
    np.testing.assert_allclose(matrix(product(product(a, b), c)), matrix(product(a, product(b, c))), atol=1e-12)
    np.testing.assert_array_equal(matrix(IDENTITY), [np.eye(3)])
    np.testing.assert_allclose(matrix(product(a, a * INVERSE)), [np.eye(3)], atol=1e-12)
    np.testing.assert_allclose(matrix(a * INVERSE), matrix(a).transpose(0, 2, 1), atol=1e-12)


@given(q=ROTATIONS)
def test_a_quaternion_and_its_opposite_are_one_rotation(q):
    np.testing.assert_array_equal(rotations.matrix(-q), rotations.matrix(q))
    np.testing.assert_array_equal(rotations.yaw(-q), rotations.yaw(q))


@given(angle=ANGLES, turns=st.integers(-3, 3))
def test_a_whole_turn_more_is_the_opposite_quaternion(angle, turns):
    once, more = (rotations.from_yaw(np.array([x])) for x in (angle, angle + 2 * np.pi * turns))
    np.testing.assert_allclose(more, (-1) ** turns * once, atol=1e-9)
    np.testing.assert_allclose(rotations.matrix(more), [about_z(angle)], atol=1e-9)


@given(angle=ANGLES, q=ROTATIONS)
def test_a_turn_about_z_is_added_to_any_yaw(angle, q):
    assume(np.linalg.vector_norm(rotations.matrix(q)[0, :2, 0]) > 1e-3)  # straight up, x points nowhere from above
    turned = product(rotations.from_yaw(np.array([angle])), q)
    np.testing.assert_allclose(rotations.wrapped(rotations.yaw(turned) - rotations.yaw(q) - angle), 0.0, atol=1e-6)


@given(angle=ANGLES)
def test_a_turn_about_z_is_known_by_its_yaw(angle):
    q = rotations.from_yaw(np.array([angle]))
    assert_same_rotation(rotations.from_yaw(rotations.yaw(q)), q)


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


@settings(max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_uniform_rotations_prefer_no_direction(seed):
    """Turned by any rotation they are as likely as before: means over all that a matrix may be are zero."""
    n = 20_000
    q = rotations.uniform(RandomStreams(stream_keys(range(seed * n, (seed + 1) * n))))
    np.testing.assert_allclose(np.linalg.vector_norm(q, axis=1), 1.0)
    axes = rotations.matrix(q).reshape(n, 9)
    assert abs(axes.mean(axis=0)).max() < 5 * np.sqrt(1 / 3 / n)
    np.testing.assert_allclose(axes.T @ axes / n, np.eye(9) / 3, atol=5 * np.sqrt(1 / 3 / n))
