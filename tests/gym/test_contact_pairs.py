"""A model that lists its contact pairs simulates as the one that does not, bit for bit."""

from unittest import mock

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motrix_gym import contact_pairs
from motrix_gym.contact_pairs import compile_for_simulation
from motrix_gym.model_files import compile_spec, load_spec
from motrix_gym.physics.base import Override
from motrix_gym.physics.cpu import CpuPhysics
from motrix_gym.tasks.locomotion.legged_robot import GO1

KINDS = mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_BOX
STEPS = 150
ISLANDS = int(mujoco.mjtDisableBit.mjDSBL_ISLAND)


def world(seed: int) -> mujoco.MjSpec:
    """Chains of bodies of all kinds that fall on a plane and on one another, with contact parameters of all kinds."""
    random = np.random.default_rng(seed)
    spec = mujoco.MjSpec()
    masks = random.integers(0, 4, 2)
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_PLANE, size=[5, 5, 1], contype=1 + masks[0] % 3, conaffinity=masks[1]
    )
    bodies = []
    for chain in range(random.integers(1, 5)):
        body = spec.worldbody
        for link in range(random.integers(1, 4)):
            place = random.uniform((-0.3, -0.3, -0.3 if link else 0.2), (0.3, 0.3, 0.3 if link else 0.8))
            body = body.add_body(name=f"body {chain} {link}", pos=place)
            if not link:
                body.add_freejoint()
            elif random.random() < 0.8:
                body.add_joint(type=mujoco.mjtJoint.mjJNT_HINGE, axis=random.normal(size=3))
            for _ in range(random.integers(1, 3)):
                add_geom(body, random)
            bodies.append(body)
    if len(bodies) > 2 and random.random() < 0.3:
        spec.add_exclude(bodyname1=bodies[0].name, bodyname2=bodies[2].name)
    return spec


def world_without_and_with(seed: int) -> tuple[mujoco.MjModel, mujoco.MjModel]:
    """The world as it is, and with a list of its contact pairs, however many they are."""
    with mock.patch.object(contact_pairs, "FEW_PAIRS", 10_000):
        return compile_spec(world(seed), "world"), compile_for_simulation(world(seed), "world")


def add_geom(body: mujoco.MjsBody, random: np.random.Generator) -> None:
    is_direct, has_margin = random.random(2) < 0.3
    body.add_geom(
        type=KINDS[random.integers(3)],
        size=random.uniform(0.05, 0.15, 3),
        pos=random.uniform(-0.1, 0.1, 3),
        contype=random.integers(4),
        conaffinity=random.integers(4),
        condim=random.choice([1, 3, 4, 6]),
        priority=random.integers(2),
        friction=random.uniform(0.1, 1.0, 3),
        solmix=random.choice([0.0, 1.0, random.uniform(0.1, 3.0)]),
        solref=random.uniform((-2000, -30), (-500, -5)) if is_direct else random.uniform((0.01, 0.5), (0.05, 1.5)),
        solimp=[0.9, 0.99, random.uniform(0.001, 0.01), 0.4, 3],
        margin=0.02 * has_margin,
        gap=0.01 * has_margin,
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_model_simulates_as_without_the_list(seed):
    plain, listed = world_without_and_with(seed)
    assert listed.npair == len(list(contact_pairs.pairs_that_may_touch(plain)))
    data = [mujoco.MjData(model) for model in (plain, listed)]
    for _ in range(STEPS):
        mujoco.mj_step(plain, data[0])
        mujoco.mj_step(listed, data[1])
        assert data[0].ncon == data[1].ncon
        np.testing.assert_array_equal(data[0].qpos, data[1].qpos)


def test_models_that_list_their_pairs_do_touch():
    """Else the law above would hold for nothing."""
    touched = 0
    for seed in range(20):
        model = compile_for_simulation(world(seed), "world")
        data = mujoco.MjData(model)
        mujoco.mj_step(model, data, STEPS)
        touched += bool(model.npair and data.ncon)
    assert touched > 5


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_geoms_that_collide_are_the_same_with_the_list(seed):
    plain, listed = world_without_and_with(seed)
    in_pairs = {geom for pair in contact_pairs.pairs_that_may_touch(plain) for geom in pair}
    assert set(contact_pairs.colliding_geoms(listed).tolist()) == (
        in_pairs or set(contact_pairs.colliding_geoms(plain).tolist())
    )
    assert in_pairs <= set(contact_pairs.colliding_geoms(plain).tolist())


def models_with_and_without(spec) -> tuple[mujoco.MjModel, mujoco.MjModel]:
    return compile_for_simulation(spec(), "model"), compile_spec(spec(), "model")


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_friction_of_geoms_is_that_of_their_pairs(seed):
    random = np.random.default_rng(seed)
    listed, plain = models_with_and_without(GO1.spec)
    friction = plain.geom_friction * random.uniform(0.2, 2.0, (3, 1, 1))
    ctrl = random.uniform(*plain.actuator_ctrlrange.T, (3, plain.nu))
    qpos = np.tile(plain.qpos0, (3, 1))
    ends = []
    for model in (listed, plain):
        physics = CpuPhysics(model, 3, 1, 0.2)
        everywhere = np.ones(3, dtype=bool)
        physics.reset(everywhere, qpos, np.zeros((3, model.nv)), {"geom_friction": Override(friction)})
        for _ in range(3):
            now, _ = physics.step(ctrl)
        ends.append(now.qpos)
    np.testing.assert_array_equal(*ends)
    assert (np.diff(ends[0], axis=0) != 0).any()


def test_a_pair_keeps_friction_that_is_not_its_geoms():
    spec = mujoco.MjSpec.from_string(
        '<mujoco><worldbody><geom name="a" type="plane" size="1 1 1"/><body><freejoint/><geom name="b" size="0.1"/>'
        '</body></worldbody><contact><pair geom1="a" geom2="b" friction="0.3 0.3 0.1 0.1 0.1"/></contact></mujoco>'
    )
    model = compile_for_simulation(spec, "pair")
    assert model.npair == 1
    assert model.geom_contype.all()
    kept = contact_pairs.friction_of_pairs(model, 2 * model.geom_friction[None])
    np.testing.assert_array_equal(kept[0], model.pair_friction)


@pytest.mark.parametrize("field", ["geom_solref", "geom_contype", "geom_margin"])
def test_a_field_without_effect_is_refused(field):
    listed, plain = models_with_and_without(lambda: load_spec("go1.xml"))
    for model, refused in ((listed, True), (plain, False)):
        override = {field: Override(getattr(model, field)[None])}
        physics = CpuPhysics(model, 1, 1, 0.02)
        if refused:
            with pytest.raises(ValueError, match=f"{field} .* no effect.*compile it with load_model"):
                physics.override(np.ones(1, dtype=bool), override)
        else:
            physics.override(np.ones(1, dtype=bool), override)


def test_one_tree_has_no_islands():
    one, two = (compile_for_simulation(load_spec(name), name) for name in ("go1.xml", "ball_in_cup.xml"))
    assert one.opt.disableflags & ISLANDS
    assert not two.opt.disableflags & ISLANDS
