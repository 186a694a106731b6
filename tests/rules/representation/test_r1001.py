"""R1001: prototypes of one concept become one."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from patients.region_case import findings, region_case
from traindx import PrototypeLearning
from traindx.checks.training.training_state import prototype_spread
from traindx.finding import Standing

K, M, D = 3, 4, 32


def spread(cosine: float) -> torch.Tensor:
    """Unit prototypes with exactly this cosine within concepts and 0 between: a shared axis and one of their own."""
    out = torch.zeros(K, M, D)
    for k in range(K):
        for m in range(M):
            out[k, m, k] = math.sqrt(cosine)
            out[k, m, K + k * M + m] = math.sqrt(1 - cosine)
    return out


def case_of(before: float, after: float, monitored=None):
    learning = PrototypeLearning(
        fit=lambda seed: (spread(before), spread(after)),
        used=lambda seed: torch.ones(K, M, dtype=torch.long),
        monitored=monitored,
        temperature=0.5,
    )
    return region_case().replace(prototypes=learning)


def overall(vectors):
    flat = F.normalize(vectors.reshape(K * M, D), dim=1)
    cosine = flat @ flat.T
    return float((cosine.sum() - K * M) / (K * M * (K * M - 1)))


def test_a_collapse_within_concepts_is_demonstrated_and_the_blind_monitor_named():
    found = findings(case_of(0.0, 0.9, overall), prototype_spread, "R1001")
    assert [one.standing for one in found] == [Standing.DEMONSTRATED]
    assert abs(found[0].numbers["within"] - 0.9) < 1e-3
    assert abs(found[0].numbers["between"]) < 1e-3
    assert "cannot see it" in found[0].message


def test_healthy_prototypes_are_silent():
    assert findings(case_of(0.0, 0.3, overall), prototype_spread, "R1001") == []


def test_prototypes_that_were_alike_from_the_start_are_another_matter():
    assert findings(case_of(0.85, 0.9), prototype_spread, "R1001") == []


def test_a_monitor_within_concepts_is_not_called_blind():
    found = findings(case_of(0.0, 0.9, lambda vectors: 0.9), prototype_spread, "R1001")
    assert len(found) == 1
    assert "cannot see it" not in found[0].message
