"""Decisions that no run of a script comes near: records by hand, on either side of the line that the rule draws."""

from __future__ import annotations

import pytest

from traindx.evidence import Evidence, Record
from traindx.evidence.dataset import Example, PairGeometry
from traindx.evidence.dataset_labels import LabelValue, MaskValues
from traindx.evidence.loss import FourierMask
from traindx.evidence.model import Comparison
from traindx.evidence.model_in_use import SettingsRead
from traindx.evidence.observed import Ending, IterationsSeen, ScriptRun
from traindx.evidence.observed_items import SidesSeen, StageInputs
from traindx.evidence.observed_optim import OptimizerSeen, ParameterGroupSeen, PlateauSeen, SchedulerSeen
from traindx.evidence.observed_state import SamplerSeen
from traindx.evidence.probed import OverlapProbed
from traindx.evidence.regions import BoxDirection
from traindx.evidence.training_state import RateProbe
from traindx.finding import Finding, Location, Standing
from traindx.rules import catalogue


def found(code: str, *records: Record) -> list[Finding]:
    evidence = Evidence()
    for record in records:
        evidence.add(record)
    return catalogue()[code].check(evidence)


@pytest.mark.parametrize(
    ("given", "standing"),
    [
        ("validation_loss", Standing.DEMONSTRATED),
        ("figure", Standing.SUSPECTED),  # a name that says nothing
        ("loss_or_dice", None),  # one that says both
        ("dice", None),
    ],
)
def test_what_a_plateau_waits_for_is_told_by_its_name_alone(given: str, standing: Standing | None) -> None:
    seen = PlateauSeen(
        scheduler="ReduceLROnPlateau", mode="max", given=given, steps=8, reductions=3, at_best=3, first_rate=1.0,
        last_rate=0.1,
    )  # fmt: skip
    assert [one.standing for one in found("O415", seen)] == ([standing] if standing else [])


@pytest.mark.parametrize(("rare", "says"), [(0.05, 1), (0.2, 0)])
def test_an_overlap_loss_is_accuracy_only_where_a_class_is_rare(rare: float, says: int) -> None:
    """With classes of one size a mean over classes charges as much as the share of the voxels."""
    shares = (rare, 0.4, 0.6 - rare)
    looks = [
        OverlapProbed(network="Net", classes=3, perfect=0.0, wrong=1.0, shares=shares, costs=shares) for _ in range(2)
    ]
    assert len(found("L321", *looks)) == says


@pytest.mark.parametrize(("items", "pairs", "says"), [(24, 2, 1), (23, 2, 0), (60, 0, 0)])
def test_mirrored_figures_are_counted_where_there_are_enough_of_them(items: int, pairs: int, says: int) -> None:
    seen = {"items": items, "mirrored": items // 2, "kept": items - items // 2, "landmarks": 6, "pairs": pairs}
    sides = SidesSeen(dataset="Poses", trains=True, **seen)  # type: ignore[arg-type]
    evidence, rule = Evidence(), catalogue()["D136"]
    evidence.add(sides)
    assert len(rule.check(evidence)) == says
    assert (rule.nothing_in(evidence, rule.limits()) is None) is bool(says)


@pytest.mark.parametrize(("items", "looks"), [(40, True), (-1, False)])
def test_a_sampler_over_a_data_set_without_a_length_is_not_judged(items: int, looks: bool) -> None:
    evidence, rule = Evidence(), catalogue()["D139"]
    evidence.add(SamplerSeen(items=items, weights=40, natural=0.1, drawn=0.5, classes=2))
    assert not rule.check(evidence)
    assert (rule.nothing_in(evidence, rule.limits()) is None) is looks


def stage(phase: str, spread: float) -> StageInputs:
    return StageInputs(
        network="Net", phase=phase, shape=(1, 8, 8), samples=16, mean=0.0, spread=spread, least_spread=spread,
        most_spread=spread, largest_off=5.0, off=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(("spread", "says"), [(5e-6, 1), (5e-7, 0)])
def test_images_of_small_physical_units_are_images_and_zeros_are_not(spread: float, says: int) -> None:
    assert len(found("M214", stage("training", spread), stage("validation", 255 * spread))) == says


@pytest.mark.parametrize(
    ("zero", "centre", "says"), [(0.5, 0.9999, 1), (0.9999, 0.5, 0), (0.999, 0.9999, 0), (0.01, 0.02, 0)]
)
def test_a_mask_is_misplaced_only_if_one_place_explains_it_and_the_other_does_not(
    zero: float, centre: float, says: int
) -> None:
    """A mask that is constant is round about every place, and noise about none."""
    mask = FourierMask(shape=(16, 16), shifted=False, about_zero=zero, about_centre=centre)
    assert len(found("L316", mask)) == says


@pytest.mark.parametrize(
    ("said", "wanted", "channels"),
    [((4, 17, 8, 8), (4, 1, 8, 8), True), ((4, 1, 8, 8), (4, 1, 8, 1), False), ((4, 5), (4,), False)],
)
def test_channels_are_blamed_only_where_they_differ(
    said: tuple[int, ...], wanted: tuple[int, ...], channels: bool
) -> None:
    seen = Comparison(
        operation="mse_loss", prediction_shape=said, target_shape=wanted, result_shape=said, is_loss=True
    )  # fmt: skip
    assert ["channels against" in one.message for one in found("M208", seen)] == [channels]


@pytest.mark.parametrize(("reach", "says"), [(0.1, 1), (1.0, 0)])
def test_rates_that_carry_the_weights_their_own_size_are_large_enough(reach: float, says: int) -> None:
    probe = RateProbe(rates=(1e-5,), reach=reach, steps=5, planned=100, factors=(1.0, 10.0), falls=(0.01, 0.5))
    assert len(found("O401", probe)) == says


@pytest.mark.parametrize(("below", "says"), [(0.0, 1), (0.05, 0)])
def test_a_term_that_still_asks_for_something_at_a_tenth_of_a_logit_has_a_margin(below: float, says: int) -> None:
    term = BoxDirection(
        term="box", pairs=4, raised=1.0, inside=1.0, outside=0.0, several=0, at_blank=1.0, at_truth_single=0.0,
        at_truth_several=0.0, below_margin=below,
    )  # fmt: skip
    assert len(found("L315", term)) == says


@pytest.mark.parametrize(("voxels", "standing"), [(3.0, Standing.DEMONSTRATED), (0.4, Standing.SUSPECTED)])
def test_a_mask_beside_its_image_by_voxels_or_by_a_fraction_of_one(voxels: float, standing: Standing) -> None:
    beside = PairGeometry(pairs=9, displaced=1, displaced_examples=(Example(name="a", value=voxels),))
    (finding,) = found("D110", beside)
    assert (finding.standing is Standing.DEMONSTRATED) is (standing is Standing.DEMONSTRATED)


@pytest.mark.parametrize(("ignored", "says"), [(255.0, 0), (None, 1)])
def test_the_value_that_is_ignored_is_declared(ignored: float | None, says: int) -> None:
    values = tuple(
        LabelValue(value=value, share=share, masks=9) for value, share in ((0.0, 0.8), (1.0, 0.1), (255.0, 0.1))
    )
    masks = MaskValues(name="labels", masks=9, values=values, declared=(0.0, 1.0), ignored=ignored, declared_by="plan")
    assert len([one for one in found("D113", masks) if "does not declare" in one.message]) == says


def schedule(**fields: object) -> SchedulerSeen:
    known = {"scheduler": "StepLR", "calls": 0, "optimizer_steps": 40, "epochs": 4, "last": 0.1}
    return SchedulerSeen.model_validate({**known, **fields})


@pytest.mark.parametrize(
    ("fields", "looks"),
    [
        ({"calls": 40}, True),
        ({}, True),  # one that nothing steps is judged by that
        ({"step_not_reached": True}, False),
        ({"calls": 40, "optimizer_steps": 0}, False),
        ({"calls": 40, "optimizer_steps": 0, "idle_calls": 39}, True),
    ],
)
def test_a_schedule_is_looked_at_where_its_silence_would_mean_something(fields: dict[str, object], looks: bool) -> None:
    evidence = Evidence()
    run = ScriptRun(target="train.py", ending=Ending.FINISHED)
    seen = IterationsSeen(iterations=40, watched=40, driven_by="optimiser", optimizers=1)
    for record in (run, seen, schedule(**fields)):
        evidence.add(record)
    rule = catalogue()["O407"]
    form = next(form for form in rule.deciders if form.needs == (SchedulerSeen,))
    assert (form.nothing_in(evidence, rule.limits()) is None) is looks
    assert looks or not list(form.decide(evidence, rule.limits()))


@pytest.mark.parametrize(("unread", "says"), [((), 0), (("focal_alpha",), 1)])
def test_settings_that_are_all_read_are_in_order(unread: tuple[str, ...], says: int) -> None:
    assert len(found("C1107", SettingsRead(read=("rate", "steps"), unread=unread))) == says


@pytest.mark.parametrize(
    ("last", "other", "says"),
    [(1e-9, 1e-3, 1), (0.0, 1e-3, 1), (1e-9, 1e-9, 0), (2e-4, 1e-3, 0)],
)
def test_a_rate_that_is_gone_while_another_stays(last: float, other: float, says: int) -> None:
    """Of a schedule that takes all rates down together nothing is said here."""
    groups = [
        ParameterGroupSeen(
            optimizer="AdamW", group=index, lr=rate, largest_lr=1e-3, gradient_norms=(1.0,) * 4, update_ratios=(1e-3,)
        )
        for index, rate in enumerate((last, other))
    ]
    assert [one.variant for one in found("O408", *groups)] == ["rate-gone"] * says
    line = Location(file="train.py", line=7)
    set_by_hand = OptimizerSeen(optimizer="AdamW", rate_set=line)
    assert [one.location for one in found("O408", *groups, set_by_hand)] == [line] * says
    third = groups[0].model_copy(update={"group": 2})
    assert len(found("O408", *groups, third)) == says  # one cause, one finding
