"""The engine by itself, with a backend that says what its runs cost and gave: planning, seeds, cuts, sentences."""

from __future__ import annotations

import numpy as np
import pytest

from traindx.case import Metric
from traindx.finding import Finding, Location, Proposal, Severity, Standing, Verdict
from traindx.trials.clock import Deadline
from traindx.trials.engine import Trial
from traindx.trials.jobs import ArmScore, JobResult
from traindx.trials.shortlist import Shortlist
from traindx.trials.statistics import look_level
from traindx.trials.treatment import Treatment, TreatmentUnfitError


class Claimed:
    """Runs that take no time, and say that they took some; figures are drawn, paired by seed."""

    workers = 1
    shares_training = False
    idle = False
    slack = 1.2
    baselines = ()
    steps = 100

    def __init__(self, seconds=1.0, gain=0.0, noise=1.0, shorter=0.0, broken=()):
        self.seconds, self.gain, self.noise, self.shorter, self.broken = seconds, gain, noise, shorter, broken
        self.moved, self.notes = {}, []
        self.ran, self.asked = [], []
        self.deadline = None  # moved by what runs say that they took

    def metric(self):
        return "dice", Metric(lambda p, t: 0.0)

    def known(self):
        return iter(())

    def control(self, seed, arms):
        return None

    def screened(self, seed, deadline):
        return frozenset()

    def job(self, job):
        return job

    def keep(self, result, asked):
        pass

    def refused(self, why):
        return why

    def one_seed(self, first, second):
        return ""

    def shorten(self, seconds, least):
        self.asked.append((seconds, least))
        if self.shorter:
            self.seconds = self.shorter
        return self.shorter

    def run(self, jobs, report, may_start):
        for job in jobs:
            if may_start(job):
                self.ran.append((job.seed, job.arms[0]))
                yield job, self.result(job)

    def result(self, job):
        (arm,) = job.arms
        if self.deadline is not None:
            self.deadline.at -= self.seconds
        if set(arm) & set(self.broken):
            return JobResult(seed=job.seed, steps=100, broke="it broke", seconds=self.seconds)
        number = sum(map(ord, "".join(arm)))
        value = 50 + float(np.random.default_rng([job.seed, number]).normal(0, self.noise)) + self.gain * len(arm)
        scored = ArmScore(arm=arm, values={"dice": value}, predictions=f"{job.seed}{arm}")
        return JobResult(
            seed=job.seed, steps=100, training=arm, arms=(scored,), weights=f"{job.seed}{arm}", seconds=self.seconds
        )


def found(*names, code="O401", standing=Standing.SUSPECTED, severity=Severity.MAJOR):
    return Finding(
        code=code,
        name="a-rule",
        message="m",
        severity=severity,
        standing=standing,
        location=Location(file="train.py", line=3),
        proposals=tuple(Proposal(treatment=name) for name in names),
    )


def bind(proposal, finding):
    if proposal.treatment == "unfit":
        raise TreatmentUnfitError("it does not fit")
    return Treatment(proposal.treatment, proposal.treatment, frozenset({"training"}), family=proposal.treatment)


def trial(backend, *names, budget=1000.0, seeds=(0, 1, 2), **options):
    return Trial(Shortlist.of([found(*names)], bind), backend, budget=budget, seeds=seeds, **options)


def told(table):
    return " | ".join(table.notes)


# -- the shortlist -----------------------------------------------------------------------------------------------


def test_the_best_established_comes_first_and_causes_before_symptoms():
    findings = [
        found("of-a-symptom", code="T904", severity=Severity.CRITICAL),
        found("of-a-cause"),
        found("shown", code="L306", standing=Standing.DEMONSTRATED, severity=Severity.MINOR),
        found("tried-before", standing=Standing.REFUTED),
        found("unfit", "of-a-cause", code="M210"),
    ]
    made = Shortlist.of(findings, bind, most=2)
    assert list(made.treatments) == ["shown", "of-a-cause"]
    assert made.codes["of-a-cause"] == ["O401", "M210"]
    assert {row.treatment: row.note for row in made.not_run} == {
        "unfit": "not run: it does not fit",
        "of-a-symptom": "not run: only the 2 most important treatments are tried",
    }


# -- seeds -------------------------------------------------------------------------------------------------------


def test_a_clear_effect_takes_the_seeds_that_were_asked_for():
    backend = Claimed(gain=40.0)
    table = trial(backend, "a", most_seeds=12).run()
    assert table.results[0].verdict is Verdict.PROVEN
    assert table.seeds == (0, 1, 2)
    assert table.complete


def test_seeds_are_added_until_the_matter_is_settled():
    backend = Claimed(gain=3.0, noise=2.0)
    three = trial(Claimed(gain=3.0, noise=2.0), "a").run()
    assert three.results[0].verdict is Verdict.INCONCLUSIVE
    assert "seeds that would settle it" in told(three)
    table = trial(backend, "a", most_seeds=12).run()
    assert table.results[0].verdict is Verdict.PROVEN
    assert 3 < len(table.seeds) <= 12
    assert len(table.results[0].given_rest.differences) == len(table.seeds)
    assert table.complete


def test_the_interval_of_an_early_look_is_that_of_its_level():
    table = trial(Claimed(gain=40.0), "a").run()
    effect = table.results[0].given_rest
    assert effect.n == 2
    assert effect.confidence == pytest.approx(1 - look_level(2, 3))
    assert effect.low > 0
    late = trial(Claimed(gain=10.0, noise=2.0), "a").run().results[0].given_rest
    assert (late.n, late.confidence) == (3, 0.95)


def test_added_seeds_are_no_part_of_what_was_asked_for():
    # a run of 60 s, two arms: 5 more runs for three seeds (330 s with the margin), 8 for four and more
    backend = Claimed(seconds=60.0, gain=0.5, noise=3.0)
    table = timed(backend, budget=500.0).run()
    assert len(table.seeds) == 4
    assert table.complete
    assert "the budget allows" not in told(table)


def timed(backend, budget, **options):
    """A trial whose time passes as the runs say."""
    backend.deadline = Deadline.after(budget)
    return trial(backend, "a", budget=budget, most_seeds=12, deadline=backend.deadline, **options)


def test_a_first_run_that_was_slow_takes_no_seeds_away():
    class SlowStart(Claimed):
        def result(self, job):
            self.seconds = 60.0 if len(self.ran) == 1 else 20.0
            return super().result(job)

    backend = SlowStart(gain=0.5, noise=3.0)
    table = timed(backend, budget=500.0).run()
    # 60 s and 22 runs of 20 s: eleven seeds of two runs each
    assert len(table.seeds) == 11
    assert [len(arm.values) for arm in table.arms] == [11, 11]


def test_runs_are_made_shorter_for_six_pairs_where_half_of_a_run_does():
    backend = Claimed(seconds=60.0, gain=0.5, noise=3.0, shorter=30.0)
    table = timed(backend, budget=500.0).run()
    # 440 s are left for twelve runs, with the margin
    assert backend.asked == [(pytest.approx(440 / 1.1 / 12, abs=1), 0.5)]
    assert len(table.seeds) >= 6


def test_the_last_look_has_what_the_others_left():
    table = timed(Claimed(seconds=60.0, gain=2.1, noise=2.0), budget=450.0).run()
    effect = table.results[0].given_rest
    assert effect.n == len(table.seeds) == 3
    assert look_level(3, 3, 3) == pytest.approx(0.05 * 0.98)


@pytest.mark.parametrize("most", [0, 8])
def test_without_an_effect_nothing_is_proven_however_many_seeds_are_added(most):
    verdicts = [
        trial(Claimed(noise=1.0), f"a{number}", most_seeds=most).run().results[0].verdict for number in range(60)
    ]
    # 5 % at most, two-sided: 60 trials give more than 8 with a probability below 1 in 400
    assert sum(verdict in (Verdict.PROVEN, Verdict.HARMFUL) for verdict in verdicts) <= 8


# -- the budget --------------------------------------------------------------------------------------------------


def test_runs_are_made_shorter_where_three_seeds_do_not_fit():
    backend = Claimed(seconds=250.0, gain=10.0, noise=2.0, shorter=120.0)
    table = trial(backend, "a").run()
    # three seeds of two arms, with the margin: 1000 s / 1.1 / 6 a run
    assert backend.asked == [(pytest.approx(1000 / 1.1 / 6, abs=1), 0.25)]
    assert backend.ran[:3] == [(0, ()), (0, ()), (0, ("a",))], "the control is run again at the length of the others"
    assert table.results[0].verdict is Verdict.PROVEN
    assert len(table.seeds) == 3
    assert table.complete


def test_what_budget_would_do_is_said_where_it_is_too_small():
    backend = Claimed(seconds=200.0, gain=10.0, noise=2.0)
    backend.deadline = Deadline.after(1000.0)
    table = trial(backend, "a", deadline=backend.deadline).run()
    assert len(table.seeds) == 2
    assert not table.complete
    # one run of 200 s, five more with the margin, and a tenth on top: 1430 s
    assert "the budget allows 2 seeds of 3; about 24 min would allow all" in told(table)


def test_a_plan_made_by_a_slow_first_run_is_mended_by_the_others():
    backend = Claimed(seconds=250.0, gain=10.0, noise=2.0)
    real = backend.result

    def quick_after_the_first(job):
        result = real(job)
        backend.seconds = 20.0
        return result

    backend.result = quick_after_the_first
    table = trial(backend, "a").run()
    assert table.seeds == (0, 1, 2)
    assert table.complete
    assert "the budget allows" not in told(table)


def test_runs_that_need_not_be_shorter_are_left_alone():
    backend = Claimed(seconds=10.0, gain=40.0, shorter=5.0)
    trial(backend, "a").run()
    assert backend.asked == []


def test_a_treatment_that_breaks_by_itself_is_left_out_of_the_others_context():
    table = trial(Claimed(gain=40.0, broken=("b",)), "a", "b").run()
    assert table.results[0].treatment == "a"
    assert table.results[0].verdict is Verdict.PROVEN
    assert "it broke by itself: b" in told(table)
    broken = next(row for row in table.results if row.treatment == "b")
    assert broken.note == "broke: it broke"


def test_nothing_is_tried_where_the_program_does_not_run_as_it_is():
    backend = Claimed()
    backend.result = lambda job: JobResult(seed=job.seed, steps=0, broke="NameError: x")
    table = trial(backend, "a").run()
    assert table.results[0].note == "not run: NameError: x"
    assert not table.arms
    assert not table.complete
