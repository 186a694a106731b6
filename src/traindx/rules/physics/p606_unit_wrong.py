"""P606: line integrals are off by a constant factor."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.projection import PhantomResponse, SampleCoupling
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Nothing, Threshold, rule
from traindx.rules.physics._shared import normalised_views


def _physical(evidence: Evidence, limits: Limits) -> Nothing | None:
    """Some view has a physical value that can be compared with the expected one."""
    normalised = normalised_views(evidence)
    seen = any(
        one.view not in normalised and one.physical and one.expected and one.single > 0
        for one in evidence.of(PhantomResponse)
    )
    return None if seen else Nothing("no view has values with a unit")


@rule(
    "P606",
    "unit-wrong",
    Severity.MAJOR,
    needs=(PhantomResponse, SampleCoupling),
    looked_at=_physical,
    tolerance=Threshold(0.1, "a cube a quarter of the volume wide loses up to 0.05 to trilinear edges and the cone"),
    linear=Threshold(0.05, "only a linear renderer has one factor; others are left to P601"),
)
def unit_wrong(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        A renderer that is linear, as it must be, but whose line integrals are wrong by a constant factor: mm taken for
        cm (10 or 0.1), the voxel size left out (its value), or Hounsfield units integrated instead of attenuation.

    Why it stops learning:
        The loss is not zero at the truth; the prediction is pulled to a volume whose density is wrong by that factor.

    Evidence it needs:
        ``Case.projection`` with ``from_mu`` in 1/mm, ``spacing_mm`` and an output that can be read as line integrals.

    How it decides:
        Measured over expected line integral of a cube differs from 1 by more than ``tolerance`` while doubling density
        and thickness doubles it within ``linear``.

    Remedy:
        Use attenuation in 1/mm with steps in mm (or 1/cm with cm), and HU to mu by ``mu_water * (1 + HU / 1000)``.

    Trial it proposes:
        ``projection``, where the case offers a reference renderer.

    Known false positives:
        A ``spacing_mm`` in the case that is not that of the volumes; images that are meant to be relative and are
        declared ``"line_integral"``: declare ``"display"``.

    References:
        NIST XCOM for mass attenuation coefficients; definition of the Hounsfield unit, DICOM PS3.3 C.11.1.1.2.
    """
    normalised = normalised_views(evidence)
    for response in evidence.of(PhantomResponse):
        if response.view in normalised or not response.physical or response.single <= 0 or not response.expected:
            continue
        doubled = (response.denser / response.single, response.thicker / response.single)
        if max(abs(ratio - 2) / 2 for ratio in doubled) > limits.linear:
            continue
        factor = response.single / response.expected
        if abs(factor - 1) <= limits.tolerance:
            continue
        yield Found(
            message=f"{response.view.capitalize()} line integrals are {factor:.3g} times what they should be: a cube "
            f"with integral {response.expected:.3g} gives {response.single:.3g}.{_guess(factor)}",
            standing=Standing.DEMONSTRATED,
            location=response.where,
            numbers={"factor": factor, "expected_integral": response.expected, "measured": response.single},
            remedy="Multiply attenuation in 1/mm by the step in mm along the ray.",
            proposals=(Proposal(treatment="projection"),),
        )
        return


def _guess(factor: float) -> str:
    for known, cause in ((10.0, "mm were taken for cm"), (0.1, "cm were taken for mm")):
        if abs(factor / known - 1) < 0.1:
            return f" A factor of {known:g} means that {cause}."
    return ""
