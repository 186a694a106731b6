"""Lists of claims: read, refused where they fit nothing, and shown with promised and measured gains."""

from __future__ import annotations

from pathlib import Path

import pytest

from traindx.cli.claims import listed_for
from traindx.errors import UsageError
from traindx.faults import registry
from traindx.finding import Effect
from traindx.trials.claim_files import Claim, Tried, load, markdown

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
    ],
)
def test_what_cannot_be_tried_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "claims.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError):
        load(tmp_path / "claims.yaml")


def test_a_list_about_a_recipe_fits_no_script() -> None:
    assert listed_for(None, script=True) is None
    with pytest.raises(UsageError, match="not a script"):
        listed_for(EXAMPLES[0], script=True)


def test_promised_and_measured_stand_side_by_side() -> None:
    claim = Claim("the variance term", "+0.25", "fault", "variance-term")
    effect = Effect(mean=0.004, low=-0.01, high=0.018, n=3, differences=(0.0, 0.004, 0.008))
    text = markdown("the report", [Tried(claim, "no effect", "dice", "", effect, "within the margin")])
    row = text.splitlines()[-1]
    assert row == "| the variance term | +0.25 | +0.004 [-0.01, +0.018] | no effect | within the margin |"
