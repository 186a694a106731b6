"""D117: radiographs and the volumes they belong to."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from traindx.checks.projection.phantoms import projection
from traindx.checks.projection.view_match import view_match
from traindx.evidence.projection import ViewMatch
from traindx.finding import Standing

AXES = {"frontal": 3, "lateral": 4}


def volumes(count=6, side=12):
    """Bodies with organs that no mirror image maps onto themselves."""
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(count, 1, side, side, side)
    x[..., 2:10, 2:10, 2:10] = 1
    x[..., 2:5, 3:5, 6:9] += 2
    return x + 0.1 * torch.rand(x.shape, generator=generator)


def render(volume, view):
    return volume.sum(dim=AXES[view])


def batch_of(x, change=lambda images, view: images):
    return {"ct": x, **{view: change(render(x, view), view) for view in AXES}}


def case_of(train, val=None, renderer=render):
    return dx.Case(
        model=lambda: nn.Conv2d(1, 1, 3),
        train=[train],
        val=[val] if val is not None else None,
        target=lambda batch: batch["ct"],
        parts=(
            dx.Projection(
                render=renderer, views=tuple(AXES), observed=lambda batch, view: batch[view], geometry="parallel"
            ),
        ),
    )


def found(case):
    return findings(run_check(case, view_match), "D117")


@pytest.mark.parametrize(
    ("turn", "named"), [((-1,), "mirrored"), ((-2,), "upside down"), ((-1, -2), "turned by 180 degrees")]
)
def test_turned_radiographs_are_demonstrated(turn, named):
    turned = batch_of(volumes(), lambda images, view: images.flip(turn))
    said = found(case_of(turned, batch_of(volumes())))
    assert {finding.standing for finding in said} == {Standing.DEMONSTRATED}
    assert len(said) == len(AXES)
    assert all(named in finding.message and "val images are as they should be" in finding.message for finding in said)


def test_an_augmentation_of_some_samples_is_enough():
    x = volumes()
    batch = batch_of(x)
    batch["ct"] = torch.cat((x[:3].flip(2), x[3:]))
    said = found(case_of(batch))
    assert {finding.numbers["better"] for finding in said} == {3}


def test_exchanged_views_are_named():
    x = volumes()
    batch = {"ct": x, "frontal": render(x, "lateral"), "lateral": render(x, "frontal")}
    said = found(case_of(batch, batch_of(x)))
    assert len(said) == len(AXES)
    assert all("better as the" in finding.message for finding in said)


def test_what_belongs_together_is_left_alone():
    x = volumes()
    both = batch_of(x), batch_of(x.flip(2))
    case = case_of(*both)
    assert found(case) == []
    records = run_check(case, view_match).of(ViewMatch)
    assert len(records) == 4
    assert all(record.as_it_is == pytest.approx(1.0) for record in records)


def test_a_renderer_that_turns_all_alike_is_left_to_p604():
    """Near miss: the renderer mirrors, or every file lies mirrored; here nobody can tell which."""
    x = volumes()
    case = case_of(batch_of(x), batch_of(x + 1), renderer=lambda volume, view: render(volume, view).flip(-1))
    assert found(case) == []
    assert all(record.better == record.samples for record in run_check(case, view_match).of(ViewMatch))


def test_p604_leaves_radiographs_of_which_some_are_turned_to_this_rule():
    turned = batch_of(volumes(), lambda images, view: images.flip(-1))
    for val, codes in ((batch_of(volumes()), {"D117"}), (turned, {"P604"})):
        evidence = run_check(case_of(turned, val), view_match, projection)
        assert {finding.code for finding in findings(evidence, "D117", "P604")} == codes


def test_a_symmetric_body_cannot_be_mirrored():
    x = volumes()
    x = x + x.flip(3) + x.flip(4)
    x = x + x.flip(3)
    assert found(case_of(batch_of(x, lambda images, view: images.flip(-1)))) == []


@pytest.mark.parametrize("renderer", [lambda volume, view: render(volume, "frontal"), lambda v, view: -render(v, view)])
def test_a_renderer_that_is_wrong_is_not_this_rules_business(renderer):
    """Near miss: the angle is ignored, or the contrast is upside down."""
    assert found(case_of(batch_of(volumes()), renderer=renderer)) == []
