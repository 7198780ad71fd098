"""Ground made of numbers: a grid of tiles, one kind of ground beside the other, harder from tile to tile.

The ground is a heightfield. A tile of each kind and level has a flat middle, where episodes begin, and a rim at height
0, so that tiles join. The whole is a function of its kinds, their sizes, the number of levels and a seed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import mujoco
import numpy as np

from motrix_gym import arrays as xp
from motrix_gym.arrays import Array
from motrix_gym.fields import Bound

CELL, FINE_CELL = 0.1, 0.05  # m between two heights; the fine one where there are stairs, whose edges are steep
TILE = 5.0  # m, side of a tile
RIM = 0.25  # m around a tile that stay at height 0
MIDDLE = 0.8  # m from the middle of a tile that are flat there, but for noise
TREAD = 0.3  # m, depth of a stair
BUMP = 0.2  # m between two random heights of noise
MOST_LEVELS = 100
GroundSize = Annotated[float, Bound(low=0, high=1, above=True)]  # of a kind of ground at the hardest level
BORDER = 2.0  # m of flat heightfield around all tiles
OUTSIDE = 100.0  # m of flat ground around that; no episode with the registered time limit gets to its end
THICKNESS = 0.5  # m of the ground below its lowest point
_NOT_DRAWN = 3  # a group of geoms that pictures leave out
FLOOR = "floor"  # the plane of a model that the ground replaces

SLANTED = [-0.7, 0.6, -0.5]  # light that shows slopes and stairs


@dataclass(frozen=True, eq=False)
class Terrain:
    """Heights on a square lattice around the origin, and where episodes may begin on them.

    Between lattice points the ground is made of the two triangles of a cell that MuJoCo makes of it. Outside it is
    flat, at height 0.

    Attributes:
        heights: (rows along y, columns along x), m, the outermost ones 0.
        cell: Distance of two lattice points, m.
        middles: Where the tiles have their middle, (levels, tiles of a level, 2), m.
    """

    heights: Array
    cell: float
    middles: Array

    @cached_property
    def half_size(self) -> Array:
        """Half the extent in x and y, (2,) m."""
        return self._last * self.cell / 2

    def height(self, points: Array) -> Array:
        """The height of the ground at `points`, (..., 2) m, as (...,) m."""
        last = xp.like(self._last, points)
        place = xp.clip((points + xp.like(self.half_size, points)) / self.cell, 0.0, last)
        cell = xp.minimum(xp.floor(place), last - 1)
        along, across = (place - cell)[..., 0], (place - cell)[..., 1]
        column, row = xp.integers(cell[..., 0]), xp.integers(cell[..., 1])
        heights = xp.like(self.heights, points)
        near, far = heights[row, column], heights[row + 1, column + 1]
        right, left = heights[row, column + 1], heights[row + 1, column]
        return xp.where(
            across <= along,
            near + along * (right - near) + across * (far - right),
            near + across * (left - near) + along * (far - left),
        )

    def highest(self, points: Array, radius: float) -> Array:
        """The highest ground within a square of `radius` around `points`, (N, 2) m, as (N,) m."""
        reach = np.ceil(radius / self.cell)
        steps = np.arange(-reach, reach + 1) * self.cell
        around = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        near = points[:, None, :] + xp.like(around, points) + xp.like(self.half_size, points)
        place = xp.clip(xp.round(near / self.cell), 0.0, xp.like(self._last, points))
        column, row = xp.integers(place[..., 0]), xp.integers(place[..., 1])
        return xp.max(xp.like(self.heights, points)[row, column], axis=1)

    @cached_property
    def _last(self) -> Array:
        """The last column and row, (2,)."""
        return np.array(self.heights.shape[::-1], dtype=float) - 1

    def lay(self, model: mujoco.MjSpec) -> None:
        """Replaces the plane `FLOOR` of a model by this ground.

        Where the flat ground around it ends, there is a step down to a plane without an end, below all of the ground:
        a robot that gets there falls over, but does not fall for ever.
        """
        low, span = float(self.heights.min()), float(np.ptp(self.heights))
        floor = next(geom for geom in model.worldbody.geoms if geom.name == FLOOR)
        x, y = self.half_size
        rows, columns = self.heights.shape
        shares = ((self.heights - low) / span).ravel()
        model.add_hfield(name=FLOOR, nrow=rows, ncol=columns, size=[x, y, span, THICKNESS], userdata=shares)
        floor.type, floor.hfieldname, floor.pos = mujoco.mjtGeom.mjGEOM_HFIELD, FLOOR, [0, 0, low]
        solid = {"contype": floor.contype, "conaffinity": floor.conaffinity}
        around = {"size": [OUTSIDE / 2, y + OUTSIDE, THICKNESS / 2]}, {"size": [x, OUTSIDE / 2, THICKNESS / 2]}
        for sign in (-1, 1):
            places = [sign * (x + OUTSIDE / 2), 0], [0, sign * (y + OUTSIDE / 2)]
            for box, place in zip(around, places, strict=True):
                model.worldbody.add_geom(
                    type=mujoco.mjtGeom.mjGEOM_BOX,
                    pos=[*place, -THICKNESS / 2],
                    material=floor.material,
                    **box,
                    **solid,
                )
        model.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1], pos=[0, 0, low - THICKNESS], group=_NOT_DRAWN, **solid
        )
        model.visual.headlight.diffuse = [0.1, 0.1, 0.1]
        for light in model.lights:
            light.dir, light.diffuse = SLANTED, [0.9, 0.9, 0.9]


PLANE = Terrain(np.zeros((2, 2)), CELL, np.zeros((1, 1, 2)))


def noise(size: float, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Random heights up to `size` m, each of a square of 0.2 m."""
    along, across = (np.rint(axis / BUMP).astype(int) for axis in (x, y))
    heights = rng.uniform(0.0, size, (np.ptp(across) + 1, np.ptp(along) + 1))
    return heights[across - across.min(), along - along.min()] * (_from_rim(x, y) > 0)


def slope_up(size: float, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """The way out of the middle leads up, `size` m a metre."""
    return -size * _from_rim(x, y)


def slope_down(size: float, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """The way out of the middle leads down, `size` m a metre."""
    return size * _from_rim(x, y)


def stairs_up(size: float, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Stairs of `size` m each, 0.3 m deep, lead up out of the middle."""
    return -stairs_down(size, rng, x, y)


def stairs_down(size: float, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Stairs of `size` m each, 0.3 m deep, lead down out of the middle."""
    return size * np.ceil(np.round(_from_rim(x, y) / TREAD, 6))


def blocks(size: float, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Square blocks and holes, 0.3 to 0.9 m wide and up to `size` m high or deep."""
    heights = np.zeros_like(x)
    for _ in range(60):
        (left, low), width = rng.uniform(-TILE / 2, TILE / 2, 2), rng.uniform(0.3, 0.9, 2)
        inside = (x >= left) & (x <= left + width[0]) & (y >= low) & (y <= low + width[1])
        heights[inside] = rng.choice([-size, -size / 2, size / 2, size])
    return heights * (_from_rim(x, y) > 0) * (_from_middle(x, y) > MIDDLE)


KINDS: Mapping[str, Callable[[float, np.random.Generator, Array, Array], Array]] = {
    kind.__name__: kind for kind in (noise, slope_up, slope_down, stairs_up, stairs_down, blocks)
}


def generate(sizes: Mapping[str, float], levels: int, seed: int) -> Terrain:
    """The ground with a tile for each of `levels` along x and for each kind along y.

    Args:
        sizes: The size of each kind at the hardest level, as the kinds say; the easiest level has `1 / levels` of it.
        levels: Number of levels.
        seed: Of what is random in the tiles.

    Raises:
        ValueError: An unknown kind.
    """
    for kind in sizes:
        if kind not in KINDS:
            raise ValueError(f"terrain has the kind {kind!r}; it takes some of {', '.join(KINDS)}")
    return _generated(tuple(sizes.items()), int(levels), int(seed))


@functools.lru_cache(maxsize=8)
def _generated(sizes: tuple[tuple[str, float], ...], levels: int, seed: int) -> Terrain:
    cell = FINE_CELL if any(kind.startswith("stairs") for kind, _ in sizes) else CELL
    per_tile, border = round(TILE / cell), round(BORDER / cell)
    heights = np.zeros((len(sizes) * per_tile + 2 * border + 1, levels * per_tile + 2 * border + 1))
    from_middle = (np.arange(per_tile + 1) - per_tile / 2) * cell
    x, y = np.meshgrid(from_middle, from_middle)
    middles = np.empty((levels, len(sizes), 2))
    for tile, (kind, size) in enumerate(sizes):
        for level in range(levels):
            rng = np.random.Generator(np.random.Philox([seed, level, list(KINDS).index(kind)]))
            row, column = border + tile * per_tile, border + level * per_tile
            place = np.s_[row : row + per_tile + 1, column : column + per_tile + 1]
            heights[place] += KINDS[kind](size * (level + 1) / levels, rng, x, y)
            middles[level, tile] = column + per_tile / 2, row + per_tile / 2
    middles = middles * cell - (np.array(heights.shape[::-1]) - 1) * cell / 2
    return Terrain(_as_simulated(heights), cell, middles)


def _as_simulated(heights: Array) -> Array:
    """Heights that have gone through the single precision of a model."""
    low, span = float(heights.min()), np.ptp(heights)
    heights = low + span * ((heights - low) / span).astype(np.float32).astype(float)
    heights.flags.writeable = False
    return heights


def _from_middle(x: Array, y: Array) -> Array:
    """How far from the middle of a tile, (rows, columns) m, in the larger of both directions."""
    return np.maximum(np.abs(x), np.abs(y))


def _from_rim(x: Array, y: Array) -> Array:
    """How far inside of the rim of a tile, m, at most as far as its flat middle."""
    return np.clip(TILE / 2 - RIM - _from_middle(x, y), 0.0, TILE / 2 - RIM - MIDDLE)
