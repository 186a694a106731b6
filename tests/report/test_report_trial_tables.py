"""The tables of the trials: letters, companies, means, baselines."""

from __future__ import annotations

import statistics

import pytest

from traindx.diagnosis import Baseline, TreatmentResult, TrialTable, Variant
from traindx.finding import Effect
from traindx.report import trial_tables


def table(**changes: object) -> TrialTable:
    parts = {
        "metric": "psnr",
        "unit": "dB",
        "results": (TreatmentResult(treatment="skip"), TreatmentResult(treatment="time", bit_identical=True)),
        "arms": (
            Variant(name="none", values=(7.1, 8.4, 5.8)),
            Variant(name="only time", treatments=("time",), values=(8.0,)),
            Variant(name="all", treatments=("skip", "time")),
        ),
        "baselines": (Baseline(name="mean", value=25.0), Baseline(name="zeros", value=11.0)),
    }
    return TrialTable.model_validate({**parts, **changes})


def test_letters_go_on_after_z() -> None:
    letters = [trial_tables.letter(index) for index in range(26 * 27 + 1)]
    assert letters[:3] == ["A", "B", "C"]
    assert letters[25:28] == ["Z", "AA", "AB"]
    assert letters[-1] == "AAA"
    assert len(set(letters)) == len(letters)


def test_arms_show_which_treatments_were_in_place() -> None:
    rows = trial_tables.tables(table())
    assert [row.letter for row in rows.treatments] == ["A", "B"]
    assert [row.present for row in rows.arms] == [(False, False), (False, True), (True, True)]


def test_mean_and_standard_deviation() -> None:
    rows = trial_tables.tables(table())
    values = (7.1, 8.4, 5.8)
    assert rows.arms[0].summary == f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f} dB"
    assert rows.arms[1].summary == "8.0 dB"
    assert rows.arms[2].summary == "not run"


def test_a_small_spread_is_not_shown_as_none() -> None:
    assert trial_tables.summary((2.55, 2.65), "") == "2.60 ± 0.07"
    assert trial_tables.summary((23.9, 23.9), "dB") == "23.9 ± 0.0 dB"
    assert trial_tables.summary((23.90001, 23.9), "dB") == "23.900 ± 0.000 dB"


def test_a_seed_that_failed_is_told() -> None:
    assert trial_tables.summary((1.0, float("nan"), 3.0), "dB") == "2.0 ± 1.4 dB (1 seed not a number)"
    assert trial_tables.summary((float("nan"),), "dB") == "not a number"


@pytest.mark.parametrize(("higher", "best"), [(True, 25.0), (False, 11.0)])
def test_the_best_baseline_follows_the_metrics_direction(higher: bool, best: float) -> None:
    assert trial_tables.best_baseline(table(higher_is_better=higher)) == best
    assert trial_tables.best_baseline(table(baselines=())) is None


def test_what_was_not_run_and_what_was_identical() -> None:
    rows = trial_tables.tables(table())
    assert rows.treatments[0].alone == ("not run", "")
    assert rows.treatments[1].given_rest == ("bit-identical", "")


def test_gain_and_interval_are_apart() -> None:
    sure = Effect(mean=2.0, low=1.0, high=3.0, n=3)
    once = Effect(mean=0.5, low=float("nan"), high=float("nan"), n=1)
    rows = trial_tables.tables(table(results=(TreatmentResult(treatment="skip", alone=sure, given_rest=once),)))
    assert rows.treatments[0].alone == ("+2.0 dB", "[1.0, 3.0]")
    assert rows.treatments[0].given_rest == ("+0.50 dB", "(one pair: no interval)")


def test_an_empty_table_is_a_table() -> None:
    rows = trial_tables.tables(TrialTable(metric="dice"))
    assert (rows.treatments, rows.arms, rows.baselines) == ((), (), ())
