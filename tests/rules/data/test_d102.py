"""D102 end to end: windows on a phantom with air, lung, soft tissue and bone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import traindx as dx
from traindx import rules
from traindx.checks.base import CheckContext
from traindx.checks.data.window import window
from traindx.evidence import Evidence
from traindx.evidence.normalisation import TissueWindow

TISSUES = {"lung": (-950.0, -500.0), "soft tissue": (-50.0, 200.0), "bone": (300.0, 1500.0)}


def chest():
    """Air 40 %, lung 20 %, soft tissue 35 %, bone 5 %, each spread evenly over its range."""
    parts = [torch.full((4000,), -1000.0)]
    for name, count in (("lung", 2000), ("soft tissue", 3500), ("bone", 500)):
        parts.append(torch.linspace(*TISSUES[name], count))
    return torch.cat(parts).reshape(1, 1, 10, 25, 40)


def window_of(low, high):
    def encode(hu):
        return (hu.clamp(low, high) - low) / (high - low) * 2 - 1

    return encode, lambda value: (value + 1) / 2 * (high - low) + low


def diagnose(low, high, tissues=TISSUES, raw=None):
    encode, decode = window_of(low, high)
    hu = chest() if raw is None else raw
    normaliser = dx.Normaliser(encode, decode, tissues=tissues, raw=lambda batch: batch["hu"])
    case = dx.Case(model=nn.Identity, train=[{"hu": hu}], target=lambda batch: encode(batch["hu"]), parts=(normaliser,))
    evidence = Evidence()
    window.function(CheckContext(case, evidence))
    return rules.catalogue()["D102"].check(evidence), evidence


def test_a_soft_tissue_window_on_a_chest_is_demonstrated():
    (finding,) = diagnose(-200, 200)[0]
    assert finding.standing == "demonstrated"
    assert finding.numbers["constant share of lung"] == 1.0
    assert finding.numbers["constant share of bone"] == 1.0
    assert "constant share of soft tissue" not in finding.numbers
    assert finding.proposals[0].parameters == {"low": -950.0, "high": 1500.0}
    assert finding.location.file.endswith("test_d102.py")


@pytest.mark.parametrize(("low", "high"), [(-1000, 3000), (-1000, 1000), (-1024, 2000)])
def test_wide_windows_are_silent(low, high):
    assert diagnose(low, high)[0] == []


def test_a_task_about_soft_tissue_alone_may_use_its_window():
    assert diagnose(-200, 200, {"soft tissue": TISSUES["soft tissue"]})[0] == []


def test_a_tissue_that_is_hardly_there_is_no_reason():
    hu = chest()
    hu[hu > 300] = 100.0
    hu.view(-1)[:5] = 1000.0
    found, _ = diagnose(-1000, 250, raw=hu)
    assert found == []


def test_metal_kept_in_the_range_starves_soft_tissue_and_is_only_suspected():
    hu = chest()
    hu.view(-1)[0] = 20000.0
    found, _ = diagnose(-1000, 20000, {"soft tissue": TISSUES["soft tissue"]}, raw=hu)
    assert [finding.standing for finding in found] == ["suspected"]
    assert found[0].numbers["share_of_range"] == pytest.approx(250 / 21000, rel=1e-3)


def test_measured_shares_match_the_phantom():
    _, evidence = diagnose(-1000, 900)
    shares = {record.tissue: record for record in evidence.of(TissueWindow)}
    assert shares["bone"].volume_share == pytest.approx(0.05)
    assert shares["bone"].constant_share == pytest.approx(0.5, abs=0.02)
    assert shares["lung"].constant_share == 0
    assert shares["bone"].clip_high == pytest.approx(900, abs=2)
