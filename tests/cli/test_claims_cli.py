"""Lists of claims: read, refused where they fit nothing, and shown with promised and measured gains."""

from __future__ import annotations

from pathlib import Path

import pytest

from traindx.cli.claims import listed_for, of_script
from traindx.diagnosis import TreatmentResult, TrialTable
from traindx.errors import UsageError
from traindx.faults import registry
from traindx.finding import Effect, Verdict
from traindx.trials.claim_files import Claim, ClaimList, Tried, load, markdown

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "claims").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_name_faults_that_their_recipes_have(path: Path) -> None:
    listed = load(path)
    faults = {fault.name for fault in registry().values() if fault.recipe == listed.recipe}
    assert listed.recipe == path.stem
    assert {claim.what for claim in listed.claims} <= faults
    assert all(claim.promised != "not said" for claim in listed.claims)


def test_there_is_one_for_each_postmortem() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize(
    "text",
    [
        "claims: []",
        "claims: [{claim: a}]",
        "recipe: segmentation\nclaims: [{claim: a, fault: b, put: c}]",
        "claims: [{claim: a, fault: b}]",  # of which recipe?
        "a: [",
        "recipe: segmentation\nclaims: [{claim: a, suspect: lr x10}]",
        "claims: [{claim: a, suspect: lr x10, beside: b}]",
    ],
)
def test_what_cannot_be_tried_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "claims.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError):
        load(tmp_path / "claims.yaml")


def test_a_list_about_a_recipe_fits_no_script() -> None:
    assert listed_for(None, script="train.py") is None
    with pytest.raises(UsageError, match="not a script"):
        listed_for(EXAMPLES[0], script="train.py")


def test_promised_and_measured_stand_side_by_side() -> None:
    claim = Claim("the variance term", "+0.25", "fault", "variance-term")
    effect = Effect(mean=0.004, low=-0.01, high=0.018, n=3, differences=(0.0, 0.004, 0.008))
    text = markdown("the report", [Tried(claim, "no effect", "dice", "", effect, "within the margin")])
    row = text.splitlines()[-1]
    assert row == "| the variance term | +0.25 | +0.004 [-0.01, +0.018] | no effect | within the margin |"


def test_a_list_about_one_script_fits_no_other(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text("script: code/train.py\nclaims: [{claim: a, suspect: lr x10}]", encoding="utf-8")
    listed = listed_for(path, script="train.py")
    assert listed is not None
    assert [claim.what for claim in listed.claims] == ["lr x10"]
    with pytest.raises(UsageError, match=r"about train\.py"):
        listed_for(path, script="infer.py")


def test_claims_of_a_script_stand_beside_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rate, clip, term = (
        Claim(text, promised, "suspect", text)
        for text, promised in (("lr /10", "+1 dB"), ("no-clipping", "more"), ("without:variance", "the cause"))
    )
    gain = Effect(mean=2.0, low=1.0, high=3.0, n=3, differences=(1.5, 2.0, 2.5))
    rows = (
        TreatmentResult(treatment="lr /10", title="rate", verdict=Verdict.PROVEN, alone=gain),
        TreatmentResult(treatment="no-clipping", title="clip", verdict=Verdict.NO_EFFECT, note="bit-identical"),
    )
    table = TrialTable(metric="psnr", unit="dB", higher_is_better=True, steps=10, results=rows)
    assert not of_script(ClaimList("a review", "", (rate, clip, term)), table, tmp_path)
    lines = (tmp_path / "claims.md").read_text(encoding="utf-8").splitlines()
    assert lines[-3:] == [
        "| lr /10 | +1 dB | +2 [+1, +3] dB | proven |  |",
        "| no-clipping | more | \u2013 | no effect | bit-identical |",
        "| without:variance | the cause | \u2013 | inconclusive | not tried |",
    ]
    assert of_script(ClaimList("a review", "", (rate, clip)), table, tmp_path)
    assert "+1 dB" in capsys.readouterr().err
