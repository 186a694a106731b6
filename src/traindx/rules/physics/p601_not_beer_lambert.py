"""P601: the rendered image is not the line integral of attenuation."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.projection import PhantomResponse, SampleCoupling
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Nothing, Threshold, rule
from traindx.rules.physics._shared import normalised_views


def _absolute(evidence: Evidence, limits: Limits) -> Nothing | None:
    """Some view is not normalised by its own content, so that its values can be compared."""
    normalised = normalised_views(evidence)
    seen = any(one.view not in normalised and one.expected for one in evidence.of(PhantomResponse))
    return None if seen else Nothing("every view is normalised by its own content, so that its values mean nothing")


@rule(
    "P601",
    "not-beer-lambert",
    Severity.MAJOR,
    needs=(PhantomResponse, SampleCoupling),
    looked_at=_absolute,
    offset=Threshold(0.05, "air must integrate to 0; trilinear renderers give below 1e-6 of the cube's integral"),
    nonlinearity=Threshold(0.05, "doubling must double; nanodrr on a 32 cubed volume deviates by less than 0.01"),
)
def not_beer_lambert(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    r"""What it finds:
        A renderer whose output, read as it is declared, is not :math:`\int\mu\,dl`: air does not integrate to zero, or
        doubling the attenuation or the thickness of a cube does not double it. The classic is ``exp(-mu * v).sum()``:
        the exponent is taken voxel by voxel and summed
        afterwards.

    Why it stops learning:
        The radiographs the network is given obey ``I = I0 exp(-integral)``. A physics loss with another law is not
        zero at the true volume, so its gradient pulls the prediction away from the truth, by an amount that grows
        with the number of voxels along the ray.

    Evidence it needs:
        A ``Case.projection`` with ``render`` and ``from_mu``; cubes of known attenuation are rendered through it.

    How it decides:
        ``|air| / (mu d)`` above ``offset``, or ``|2 mu| / |mu|`` or ``|2 d| / |d|`` away from 2 by more than
        ``nonlinearity`` (relative). Views normalised per image are left to P602, which explains them.

    Remedy:
        Sum first, exponentiate last: ``integral = (mu * step_mm).sum(axis)``. Compare in the log domain, that is
        compare integrals, with ``-log(I / I0)`` of the measured radiograph.

    Trial it proposes:
        ``projection``, where the case offers a reference renderer.

    Known false positives:
        A renderer that adds scatter or noise on purpose, and a declared ``output`` that is not what ``render`` returns:
        declare ``"transmission"`` for ``exp(-integral)``, or ``"display"`` with ``to_line_integral``.

    References:
        Beer-Lambert law; Attix, *Introduction to Radiological Physics and Radiation Dosimetry* (1986), chapter 3.
    """
    normalised = normalised_views(evidence)
    for response in evidence.of(PhantomResponse):
        if response.view in normalised or not response.expected:
            continue
        rise = response.single - response.empty
        offset = abs(response.empty) / response.expected
        denser = (response.denser - response.empty) / rise if rise else 0.0
        thicker = (response.thicker - response.empty) / rise if rise else 0.0
        worst = max(abs(denser - 2), abs(thicker - 2)) / 2
        if offset <= limits.offset and worst <= limits.nonlinearity and rise > 0:
            continue
        yield Found(
            message=(
                f"The {response.view} renderer is not Beer-Lambert: a cube with line integral "
                f"{response.expected:.3g} gives {response.single:.3g}, air gives {response.empty:.3g} (expected 0), "
                f"double density gives {denser:.2f} times and double thickness {thicker:.2f} times as much "
                "(expected 2.00)."
            ),
            standing=Standing.DEMONSTRATED,
            location=response.where,
            numbers={
                "expected_integral": response.expected,
                "cube": response.single,
                "air": response.empty,
                "ratio_double_density": denser,
                "ratio_double_thickness": thicker,
            },
            remedy="Integrate attenuation along the ray first (sum of mu times step in mm) and compare line integrals; "
            "if an intensity is wanted, take exp of minus the finished integral.",
            proposals=(Proposal(treatment="projection"),),
        )
        return  # one renderer, one finding: the other views share the law
