"""The factorial design, what shares a training, and what is left out when time is short."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traindx.trials.arms import Design
from traindx.trials.context import sound_context
from traindx.trials.jobs import ArmScore, JobResult
from traindx.trials.planning import Costs, fit
from traindx.trials.treatment import Treatment


def treatment(name, *touches, family=""):
    return Treatment(name, name, frozenset(touches), lambda case: case, family=family or name)


def design(**kinds):
    return Design.of({name: treatment(name, *touches.split()) for name, touches in kinds.items()})


def costs(train=10.0, score=1.0):
    made = Costs()
    made.learn(JobResult(seed=0, steps=1, seconds=train, arms=(ArmScore(arm=(), seconds=score),)))
    return made


def never(seed, arm):
    return False


THREE = {"a": "training", "b": "sampling", "c": "data"}


def test_the_arms_are_none_each_all_and_all_but_each():
    made = design(**THREE)
    assert [made.name(arm) for arm in made.arms()] == [
        "none",
        "only a",
        "only b",
        "only c",
        "all",
        "all but a",
        "all but b",
        "all but c",
    ]


def test_two_treatments_need_four_arms_and_one_needs_two():
    assert len(design(a="training", b="training").arms()) == 4
    one = design(a="training")
    assert [one.name(arm) for arm in one.arms()] == ["none", "all"]
    assert one.alone("a") == one.given_rest("a")
    assert len(one.comparisons("a")) == 1


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(["training", "sampling", "data", "evaluation", "training sampling"]), max_size=6))
def test_arms_that_share_a_training_differ_in_nothing_that_training_uses(kinds):
    made = design(**{f"t{i}": kind for i, kind in enumerate(kinds)})
    for shared, arms in made.groups(made.arms()).items():
        for arm in arms:
            assert {name for name in arm if made.treatments[name].retrains} == set(shared)
    retraining = sum(item.retrains for item in made.treatments.values())
    # 2 for none and all, 2 for each treatment that needs a training; for one or two of them some of these coincide
    assert len(made.groups(made.arms())) == {0: 1, 1: 2, 2: 4}.get(retraining, 2 + 2 * retraining)
    assert made.arms()[0] == frozenset()
    assert len(made.arms()) == len(set(made.arms()))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6))
def test_every_comparison_differs_in_its_treatment_alone(count):
    made = design(**{f"t{i}": "training" for i in range(count)})
    for name in made.treatments:
        for one in made.comparisons(name):
            assert one.treated - one.without == {name}
            assert one.without < one.treated


def test_alternatives_are_never_in_place_together():
    made = Design.of(
        {
            "lr x10": treatment("lr x10", "training", family="learning-rate"),
            "lr x.1": treatment("lr x.1", "training", family="learning-rate"),
            "skip": treatment("skip", "training"),
        }
    )
    assert made.everything == {"lr x10", "skip"}
    assert not any({"lr x10", "lr x.1"} <= arm for arm in made.arms())
    other = made.given_rest("lr x.1")
    assert other.without == {"skip"}
    assert other.treated == {"skip", "lr x.1"}


def test_a_treatment_that_leaves_the_weights_alone_shares_the_training():
    made = design(a="training", b="training")
    assert len(made.groups(made.arms())) == 4
    assert len(made.groups(replace(made, inert=frozenset({"b"})).arms())) == 4
    assert len(replace(made, inert=frozenset({"b"})).groups(made.arms())) == 2


def test_sampling_treatments_cost_no_training():
    made = design(a="training", b="sampling", c="sampling")
    assert len(made.arms()) == 8
    assert len(made.groups(made.arms())) == 2


# ---------------------------------------------------------------------------------------------------------- planning


def test_everything_is_run_where_it_fits():
    made = design(a="training", b="training")  # 4 trainings and 4 scores a seed: 44 s
    assert fit(made, (0, 1, 2), costs(), 3 * 44 * 1.1 + 1, 1, never) == (made, 3)
    assert fit(made, (0, 1, 2), costs(), 3 * 44 * 1.1 / 2 + 1, 2, never) == (made, 3)


def test_seeds_are_given_up_before_arms():
    made = design(a="training", b="training")
    assert fit(made, (0, 1, 2), costs(), 2 * 44 * 1.1 + 1, 1, never) == (made, 2)


def test_then_the_comparisons_alone_of_the_least_important():
    made = design(a="training", b="training", c="training")  # 8 arms
    smaller, seeds = fit(made, (0, 1, 2), costs(), 2 * 7 * 11 * 1.1 + 1, 1, never)
    assert seeds == 2
    assert smaller.dropped == {("c", "alone")}
    assert smaller.everything == made.everything


def test_then_whole_treatments_and_the_most_important_one_stays():
    made = design(a="training", b="training", c="training")
    smaller, seeds = fit(made, (0, 1, 2), costs(), 2 * 2 * 11 * 1.1 + 1, 1, never)
    assert seeds == 2
    assert smaller.everything == {"a"}
    assert [smaller.name(arm) for arm in smaller.arms()] == ["none", "only a"]
    assert smaller.alone("a") == smaller.given_rest("a")  # it comes back, as it costs nothing more
    assert not smaller.comparisons("b")


def test_one_seed_is_left_where_not_even_that_fits():
    made = design(a="training", b="sampling")  # two trainings and four scores a seed
    assert fit(made, (0, 1, 2), costs(), 1.1 * 24 + 1, 1, never) == (made, 1)
    assert fit(made, (0, 1, 2), costs(), 1.0, 1, never) == (made, 1)


def test_what_is_done_is_not_paid_again():
    made = design(a="training", b="training")
    assert fit(made, (0, 1, 2), costs(), 0.1, 1, lambda seed, arm: True) == (made, 3)
    assert fit(made, (0, 1, 2), costs(), 44 * 1.1 + 1, 1, lambda seed, arm: seed < 2) == (made, 3)


def test_what_is_expected_to_leave_the_weights_alone_costs_one_seed_only():
    made = design(a="training", b="training")  # 4 trainings on the first seed, 2 on the second; 4 scores on each
    takes = (4 * 10 + 4 + 2 * 10 + 4) * 1.1
    assert fit(made, (0, 1), costs(), takes + 1, 1, never, frozenset({"b"})) == (made, 2)
    assert fit(made, (0, 1), costs(), takes + 1, 1, never)[0] != made


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["training", "sampling"]), min_size=1, max_size=5),
    st.floats(0, 2000),
    st.integers(1, 4),
)
def test_a_plan_of_two_seeds_or_more_fits(kinds, seconds, workers):
    made = design(**{f"t{i}": kind for i, kind in enumerate(kinds)})
    chosen, seeds = fit(made, (0, 1, 2), costs(), seconds, workers, never)
    arms = chosen.arms()
    takes = seeds * (10.0 * len(chosen.groups(arms)) + 1.0 * len(arms)) / workers
    assert seeds == 1 or takes <= seconds
    assert chosen.given_rest("t0") is not None


def test_costs_learn_from_whole_trainings_only():
    made = Costs()
    made.learn(JobResult(seed=0, steps=1, seconds=3.0, broke="x"))
    made.learn(JobResult(seed=0, steps=1, seconds=3.0, unfinished=True))
    made.learn(JobResult(seed=0, steps=1, seconds=3.0, diverged="at step 3"))
    assert not made.known
    made.learn(JobResult(seed=0, steps=1, seconds=3.0, arms=(ArmScore(arm=(), seconds=0.5),)))
    assert made.of(2, 4) == pytest.approx(8.0)


# ------------------------------------------------------------------------------------------------- spoiled companies


def figures(**of):
    """Figures of arms by the letters that are in place; "none" is the control."""
    table = {frozenset(name if name != "none" else ""): figure for name, figure in of.items()}
    return table.__getitem__


def test_two_treatments_that_undo_the_cure_leave_the_company():
    """Dice of a segmentation that trains on unlabelled voxels: a masks them; b and c flip terms of the loss."""
    made = design(a="training", b="training", c="training")
    value = figures(none=0.46, a=0.92, b=0.80, c=0.005, abc=0.002, ab=0.0, ac=0.007)
    assert sound_context(made, value) == {"a"}


def test_treatments_that_hide_each_other_stay_together():
    """PSNR of the X-ray-to-CT post-mortem: two treatments do harm alone and are needed all the same."""
    made = design(a="training", b="sampling", c="sampling")
    assert sound_context(made, figures(none=13.8, a=20.4, b=11.5, c=11.3, abc=20.9)) == {"a", "b", "c"}


def test_where_nothing_helps_alone_nothing_is_left_out():
    made = design(a="training", b="training")
    assert sound_context(made, figures(none=5.0, a=4.0, b=3.0, ab=1.0)) == {"a", "b"}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=8, max_size=8))
def test_what_stays_keeps_half_of_the_best_gain(drawn):
    made = design(**THREE)
    table = dict(zip(["none", "a", "b", "c", "ab", "ac", "bc", "abc"], drawn, strict=True))
    value = figures(**table)
    context = sound_context(made, value)
    gain = max(table[name] for name in "abc") - table["none"]
    if gain > 0:
        assert value(context) >= table["none"] + 0.5 * gain - 1e-9
