"""What a fused image should be: regions, the optimum of the objective, and what normalisations destroy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from traindx.errors import InputError
from traindx.recipes.fusion.data import DataOptions, derive, prepare
from traindx.recipes.fusion.normalisation import (
    DISPLAY_HU,
    NORMALISATIONS,
    ct_display,
    destroyed,
    mr_display,
    normalisation,
    to_display,
    to_network,
)
from traindx.recipes.fusion.phantom import phantom
from traindx.recipes.fusion.studies import Study
from traindx.recipes.fusion.target import fused_target, regions


@pytest.fixture(scope="module")
def prepared():
    hu, mr, lesion = phantom(3)
    return derive(Study("p", hu, mr, lesion, np.eye(4)))


def disc(side=40, radius=15.0):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.hypot(y, x) < radius, np.hypot(y, x) < 5


def made(table: bool = False):
    """A disc of muscle with a bone in it, as CT in HU and MR on the display range."""
    body, bone = disc()
    hu = np.full((1, 40, 40), -1000.0, dtype=np.float32)
    hu[0, body], hu[0, bone] = 50, 1000
    if table:
        hu[0, 38] = 100
    mr = np.zeros((1, 40, 40), dtype=np.float32)
    mr[0, body], mr[0, bone] = 0.3, 0.01
    return hu, mr, body, bone


def test_regions_of_a_disc_are_its_parts():
    hu, mr, body, bone = made(table=True)
    where = regions(hu, mr)
    assert (where.body[0] == body).all()  # neither the table nor a hole where MR sees nothing
    assert (where.bone[0] == bone).all()
    assert not (where.soft & where.bone).any()
    assert where.soft[0][disc(radius=10)[0] & ~disc(radius=7)[0]].all()


def test_the_target_is_mr_in_soft_tissue_and_ct_in_bone_and_minimises_the_objective(prepared):
    where, ct, mr, fused = prepared.where, prepared.ct.numpy(), prepared.mr.numpy(), prepared.fused.numpy()
    assert where.soft.sum() > 1000
    assert where.bone.sum() > 50
    assert np.array_equal(fused[where.soft], mr[where.soft])
    assert np.array_equal(fused[where.bone], ct[where.bone])

    def objective(image):
        return ((image - ct)[where.bone] ** 2).sum() + ((image - mr)[where.soft] ** 2).sum()

    assert objective(fused) == 0
    draw = np.random.default_rng(0)
    for _ in range(5):
        assert objective(fused + 0.01 * draw.normal(size=fused.shape)) > 0


def test_ct_stands_in_where_mr_sees_nothing():
    hu, mr, body, bone = made()
    mr[0, :, 26:] = 0  # the field of view of MR ends there
    fused = fused_target(ct_display(torch.from_numpy(hu)).numpy(), mr, regions(hu, mr))
    beyond = body & ~bone
    beyond[:, :30] = False
    muscle = float(ct_display(torch.tensor(50.0)))
    assert np.allclose(fused[0][beyond], muscle)
    assert np.all(fused[0][~body] == 0)


def test_files_decide_where_there_are_masks():
    hu, mr, _, bone = made()
    hu[0, 5:8, 19:21] = 900  # metal outside bone
    none = np.zeros_like(hu, dtype=bool)
    mask = none.copy()
    mask[0] = bone
    assert regions(hu, mr).bone[0, 6, 19]
    assert not regions(hu, mr, bone=mask).bone[0, 6, 19]
    assert regions(hu, mr, body=none).soft.sum() == 0


def test_display_ranges_are_fixed_and_mr_leaves_white_to_bone():
    assert float(ct_display(torch.tensor(DISPLAY_HU[0] - 5))) == 0
    assert float(ct_display(torch.tensor(500.0))) == pytest.approx(0.5)
    assert float(mr_display(torch.tensor(800.0), 800.0)) == pytest.approx(0.7)
    values = torch.rand(50)
    torch.testing.assert_close(to_display(to_network(values)), values)


def test_every_normalisation_says_what_it_destroys_and_it_is_measured():
    hu = torch.linspace(-1000, 1250, 5000)
    clipped = {name: destroyed(preset, hu)["bone"][0] for name, preset in NORMALISATIONS.items()}
    assert clipped["soft-tissue-window"] == 1
    assert clipped["joint"] < 0.01
    assert clipped["zscore"] == 0
    assert destroyed(NORMALISATIONS["soft-tissue-window"], hu)["bone"][1] == 1  # one distinct value is left of bone
    assert all(preset.destroys for preset in NORMALISATIONS.values())
    for preset in NORMALISATIONS.values():
        inside = torch.linspace(preset.ct_low, preset.ct_high, 9)
        torch.testing.assert_close(preset.hu(preset.ct(inside)), inside, atol=0.1, rtol=0)
    with pytest.raises(InputError, match="joint"):
        normalisation("none")


def test_the_target_does_not_depend_on_how_the_network_sees_ct_and_mr():
    data = prepare(DataOptions("phantom", size=32, val_size=32, train=2, val=1))
    other = data.seen_as(NORMALISATIONS["zscore"])
    first, second = data.val[0], other.val[0]
    assert torch.equal(first["fused"], second["fused"])
    assert not torch.equal(first["ct"], second["ct"])
    inside = torch.from_numpy(other.val.prepared[0].study.mr)
    _, mean, deviation = other.val.prepared[0].reference
    z = NORMALISATIONS["zscore"].mr(inside, 1.0, mean, deviation)
    assert float(((z * deviation + mean) - inside).abs().max()) < 1e-2


def test_training_windows_move_all_images_and_masks_alike():
    data = prepare(DataOptions("phantom", size=32, val_size=32, train=2, val=1))
    for index in range(12):
        item = data.train.item(index, torch.Generator().manual_seed(index))
        soft, bone = item["soft"] > 0, item["bone"] > 0
        torch.testing.assert_close(to_display(item["fused"])[soft], item["mr_display"][soft])
        torch.testing.assert_close(to_display(item["fused"])[bone], item["ct_display"][bone])
        assert bool((item["hu"][bone] > 299).all())
        assert torch.equal(ct_display(item["hu"]), item["ct_display"])


def test_an_mr_that_is_empty_is_refused():
    hu, mr, lesion = phantom(0)
    with pytest.raises(InputError, match="MR is zero"):
        derive(Study("p", hu, 0 * mr, lesion, np.eye(4)))


def test_a_slice_of_a_volume_keeps_the_brightness_of_the_volume(prepared):
    one = prepared.at(5)
    assert one.study.hu.shape[0] == one.fused.shape[0] == one.where.bone.shape[0] == 1
    assert one.reference == prepared.reference
    assert torch.equal(one.fused[0], prepared.fused[5])
    assert np.array_equal(one.where.soft[0], prepared.where.soft[5])
