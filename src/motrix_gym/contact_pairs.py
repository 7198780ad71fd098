"""Compiles a model for simulation: the same physics bit for bit, with less searching in each physics step.

In every step MuJoCo looks for geoms that may touch, first among bodies, then among their geoms. Where few pairs of
geoms can ever touch, it is faster to test all of them. MuJoCo tests the pairs that a model lists. In either way it
sorts the contacts that it finds, so what follows from them is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import mujoco
import numpy as np

from motrix_gym import arrays as xp
from motrix_gym import rows
from motrix_gym.model_files import compile_spec, load_spec

_NO_TREES = int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE)
FEW_PAIRS = 32  # it is always faster to test these
FEW_PER_BODIES = 2.0  # of two bodies that may touch, on average: where each has few geoms, there is little to skip
_OF_SEARCHED = {  # fields that a contact depends on if it was searched for, and does not if its pair is listed
    f"geom_{name}"
    for name in ("conaffinity", "condim", "contype", "gap", "margin", "priority", "solimp", "solmix", "solref")
}

_SOURCES: WeakKeyDictionary[mujoco.MjModel, mujoco.MjSpec] = WeakKeyDictionary()


def load_for_simulation(file: str | Path) -> mujoco.MjModel:
    """`load_model`, with the contacts and the solver as `compile_for_simulation` has them."""
    return compile_for_simulation(load_spec(file), file)


def compile_for_simulation(spec: mujoco.MjSpec, file: str | Path) -> mujoco.MjModel:
    """Compiles what `load_spec` read from a file into a model that is faster, and simulates the same bit for bit.

    If a model lists no contact pairs, and few pairs of geoms can touch, all of them are listed, and `geom_contype` and
    `geom_conaffinity` are zero. In a model of one kinematic tree, constraints are not divided into islands.

    Args:
        spec: The model; it is changed in the same way.
        file: Where it is from, for errors.

    Raises:
        ValueError: What MuJoCo's compiler refuses; one line with the file and the reason.
    """
    model = compile_spec(spec, file)
    is_one_tree = model.ntree == 1
    pairs = [] if model.npair else sorted(pairs_that_may_touch(model), key=partial(_place_of_contact, model))
    is_listed = _is_worth_a_list(model, pairs)
    if is_one_tree:
        spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_ISLAND)
    if is_listed:
        _list_pairs(spec, model, pairs)
    if is_one_tree or is_listed:
        model = compile_spec(spec, file)
    _SOURCES[model] = spec
    return model


def source(model: mujoco.MjModel) -> mujoco.MjSpec | None:
    """What `compile_for_simulation` made a model from, to be written as MJCF; None for a model of another origin."""
    return _SOURCES.get(model)


def pairs_that_may_touch(model: mujoco.MjModel) -> Iterator[tuple[int, int]]:
    """The pairs of geoms among which MuJoCo searches for contacts: by masks, bodies and exclusions."""
    excluded = {int(signature) for signature in model.exclude_signature}
    filters_parents = not model.opt.disableflags & int(mujoco.mjtDisableBit.mjDSBL_FILTERPARENT)
    colliding = np.flatnonzero(model.geom_contype | model.geom_conaffinity).tolist()
    for one, other in combinations(colliding, 2):
        bodies = sorted(int(model.geom_bodyid[geom]) for geom in (one, other))
        if (bodies[0] << 16) + bodies[1] in excluded:
            continue
        welds = [int(model.body_weldid[body]) for body in bodies]
        parents = [int(model.body_weldid[model.body_parentid[weld]]) for weld in welds]
        is_parent = all(welds) and (welds[0] == parents[1] or welds[1] == parents[0])
        if welds[0] == welds[1] or (filters_parents and is_parent):
            continue
        kinds, affinities = model.geom_contype[[one, other]], model.geom_conaffinity[[other, one]]
        if (kinds & affinities).any():
            yield one, other


def colliding_geoms(model: mujoco.MjModel) -> np.ndarray:
    """The geoms that something may touch, (k,) int, whether their pairs are listed or searched for."""
    masked = np.flatnonzero(model.geom_contype | model.geom_conaffinity)
    return np.unique(np.concat([masked, model.pair_geom1, model.pair_geom2]))


def friction_of_pairs(model: mujoco.MjModel, geom_friction: np.ndarray) -> np.ndarray:
    """The friction of all listed pairs where that of geoms differs between environments.

    Args:
        model: The model.
        geom_friction: (M, ngeom, 3).

    Returns:
        (M, npair, 5). A pair that has another friction in the model than its geoms have keeps it.
    """
    friction = xp.tile(rows.from_host(model.pair_friction, geom_friction)[None], (len(geom_friction), 1, 1))
    for number, pair in enumerate(zip(model.pair_geom1, model.pair_geom2, strict=True)):
        deciding = _deciding(model, pair)
        if (_friction(model.geom_friction[deciding]) == model.pair_friction[number]).all():
            friction[:, number] = _friction(geom_friction[:, deciding])
    return friction


def refuse_without_effect(model: mujoco.MjModel, fields: Iterable[str]) -> None:
    """Refuses fields of geoms that differ between environments, where no contact depends on them.

    Raises:
        ValueError: All contacts of the model are of listed pairs.
    """
    ignored = sorted(_OF_SEARCHED & set(fields))
    if ignored and model.npair and not (model.geom_contype | model.geom_conaffinity).any():
        raise ValueError(
            f"{', '.join(ignored)} of an environment would have no effect: the model lists its contact pairs; "
            "compile it with load_model or compile_spec"
        )


def _is_worth_a_list(model: mujoco.MjModel, pairs: list[tuple[int, int]]) -> bool:
    bodies = {tuple(model.geom_bodyid[list(pair)]) for pair in pairs}
    return 0 < len(pairs) <= max(FEW_PAIRS, FEW_PER_BODIES * len(bodies))


def _list_pairs(spec: mujoco.MjSpec, model: mujoco.MjModel, pairs: list[tuple[int, int]]) -> None:
    geoms = {geom.id: geom for geom in spec.geoms}
    for pair in pairs:
        for geom in pair:
            geoms[geom].name = geoms[geom].name or f"geom {geom}"
        names = {f"geomname{place}": geoms[geom].name for place, geom in enumerate(pair, start=1)}
        spec.add_pair(**names, **_contact(model, pair))
    for geom in geoms.values():
        geom.contype = geom.conaffinity = 0


def _place_of_contact(model: mujoco.MjModel, pair: tuple[int, int]) -> tuple[Any, ...]:
    """Sorts pairs in the order of the contacts that are searched for.

    Where two bodies have several geoms and none is a plane, MuJoCo searches in their trees of bounding boxes, and sorts
    what it finds by the two geoms, of which that of the simpler kind is the first.
    """
    bodies = sorted(int(model.geom_bodyid[geom]) for geom in pair)
    geoms = [range(model.body_geomadr[body], model.body_geomadr[body] + model.body_geomnum[body]) for body in bodies]
    has_plane = any(model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_PLANE for part in geoms for geom in part)
    is_sorted = not has_plane and max(map(len, geoms)) > 1 and not model.opt.disableflags & _NO_TREES
    return (*bodies, *(_by_kind(model, pair) if is_sorted else pair))


def _by_kind(model: mujoco.MjModel, pair: Sequence[int]) -> list[int]:
    return sorted(pair, key=lambda geom: int(model.geom_type[geom]))


def _contact(model: mujoco.MjModel, pair: tuple[int, int]) -> dict[str, Any]:
    """How two geoms touch, by the rules of MuJoCo ("Contact parameters" in the chapter on its computation)."""
    both = _by_kind(model, pair)  # the order in which MuJoCo mixes
    margin, gap = float(model.geom_margin[both].sum()), float(model.geom_gap[both].sum())
    deciding = _deciding(model, both)
    solref, solimp, mixes = model.geom_solref[deciding], model.geom_solimp[deciding], model.geom_solmix[deciding]
    is_direct = (solref[:, 0] <= 0).any()
    return {
        "condim": int(model.geom_condim[deciding].max()),
        "friction": _friction(model.geom_friction[deciding]),
        "solref": solref.min(axis=0) if is_direct else _mixed(solref, mixes),
        "solreffriction": np.zeros(2),
        "solimp": _mixed(solimp, mixes),
        "margin": margin,
        "gap": gap,
    }


def _deciding(model: mujoco.MjModel, pair: Sequence[int]) -> list[int]:
    """The geoms whose parameters count in a contact: those of the highest priority, one or both."""
    highest = model.geom_priority[list(pair)].max()
    return [geom for geom in pair if model.geom_priority[geom] == highest]


def _friction(geoms: np.ndarray) -> np.ndarray:
    """The friction of a contact, (..., 5), from that of one or two geoms, (..., 1 or 2, 3)."""
    return xp.max(geoms, axis=-2)[..., [0, 0, 1, 2, 2]]


def _mixed(values: np.ndarray, mixes: np.ndarray) -> np.ndarray:
    """The mean of one or two rows, weighted by `mixes` where these are not too small."""
    if len(values) == 1:
        return values[0]
    enough = mixes >= mujoco.mjMINVAL
    share = mixes[0] / mixes.sum() if enough.all() else 0.5 if not enough.any() else float(enough[0])
    return share * values[0] + (1 - share) * values[1]
