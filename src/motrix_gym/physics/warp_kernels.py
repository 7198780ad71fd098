"""The kernels of `WarpPhysics` that MuJoCo Warp does not bring."""

# Kernels are Warp's language: pyright takes them for Python.
# pyright: reportArgumentType=false, reportAssignmentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false

import mujoco
import warp as wp

LARGEST = float(mujoco.mjMAXVAL)  # what MuJoCo takes for a simulation that has diverged


@wp.kernel
def put_rows(
    envs: wp.array[int],
    rows: wp.array2d[float],
    first_column: int,
    field: wp.array2d[float],
):
    """Writes columns of `rows`, (M, size), to a field, (N, k), of the environments `envs`, (M,)."""
    row, column = wp.tid()
    field[envs[row], column] = rows[row, first_column + column]


@wp.kernel
def put_columns(columns: wp.array[int], values: wp.array2d[float], field: wp.array2d[float]):
    """Writes some columns of `values`, (N, k), to the same ones of a field."""
    env, i = wp.tid()
    field[env, columns[i]] = values[env, columns[i]]


@wp.kernel
def note_divergence(x: wp.array2d[float], largest: float, diverged: wp.array[int]):
    """Marks environments in which a number of x, (N, k), is not finite, or too large."""
    env, column = wp.tid()
    if not (wp.abs(x[env, column]) <= largest):
        diverged[env] = 1


@wp.func
def mujoco_quaternion(q: wp.quat):
    """Warp's quaternion x y z w, of MuJoCo's w x y z."""
    return wp.quat(q[1], q[2], q[3], q[0])


@wp.kernel
def place_static_geoms(
    geoms: wp.array[int],
    geom_bodyid: wp.array[int],
    geom_pos: wp.array2d[wp.vec3],
    geom_quat: wp.array2d[wp.quat],
    xpos: wp.array2d[wp.vec3],
    xquat: wp.array2d[wp.quat],
    geom_xpos: wp.array2d[wp.vec3],
    geom_xmat: wp.array2d[wp.mat33],
):
    """Places geoms of bodies that do not move, which MuJoCo Warp places but once; quaternions are w x y z."""
    env, i = wp.tid()
    geom = geoms[i]
    q = mujoco_quaternion(xquat[env, geom_bodyid[geom]])
    own = mujoco_quaternion(geom_quat[env % geom_quat.shape[0], geom])
    geom_xpos[env, geom] = xpos[env, geom_bodyid[geom]] + wp.quat_rotate(q, geom_pos[env % geom_pos.shape[0], geom])
    geom_xmat[env, geom] = wp.quat_to_matrix(wp.normalize(q * own))
