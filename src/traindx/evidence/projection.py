"""Evidence about the radiograph physics: what a renderer does with phantoms whose line integrals are known exactly."""

from __future__ import annotations

from traindx.evidence.base import Record


class PhantomResponse(Record):
    r"""Line integrals through the centre of cubes of known attenuation, as the case's renderer gives them.

    The cube has side d (along the viewing direction) and attenuation :math:`\mu` and stands at the centre of air.

    Attributes:
        view: Which view.
        expected: :math:`\mu d`, dimensionless.
        empty: Measured for a volume of air; must be 0.
        single: Measured for the cube; must be ``expected``.
        denser: The cube at :math:`2\mu`; must be twice ``single`` (Beer-Lambert is linear in the log domain).
        thicker: The cube at double thickness; must be twice ``single``.
        physical: True if attenuation could be given in 1/mm and the output could be read as a line integral, so that
            the absolute value means something.
    """

    view: str
    expected: float
    empty: float
    single: float
    denser: float
    thicker: float
    physical: bool


class SampleCoupling(Record):
    """Whether a rendered image depends on anything but its own volume's attenuation.

    Attributes:
        view: Which view.
        scaled_change: Change of the image when attenuation is doubled everywhere, in units of its contrast (0: scale
            invariant; a physical image changes by more than 1).
        neighbour_change: Change of the first image when only the second volume of the batch changes, same units.
        lowest: Smallest pixel of the image of a real target.
        highest: Largest pixel.
    """

    view: str
    scaled_change: float
    neighbour_change: float
    lowest: float
    highest: float


class ViewDifference(Record):
    """How different two views of an asymmetric phantom are.

    Attributes:
        first: A view.
        second: Another view.
        relative: Mean absolute difference in units of the contrast of the first; 0 for identical views.
    """

    first: str
    second: str
    relative: float


class ViewAgreement(Record):
    """Correlation of the rendered target with the radiograph it is compared with, as it is and under symmetries.

    Attributes:
        view: Which view.
        correlation: Absolute Pearson's r as the case compares them, mean over the batch.
        best: Name of the symmetry (or other view) that fits best; ``as it is`` if none is better.
        best_correlation: Its correlation.
    """

    view: str
    correlation: float
    best: str
    best_correlation: float


class ProjectionGradient(Record):
    """Gradient of the summed line integral with respect to the volume.

    Attributes:
        view: Which view.
        connected: True if the image is connected to the volume in the autograd graph.
        share: Share of voxels inside the central half of the volume that receive a gradient.
        finite: True if all of it is finite.
    """

    view: str
    connected: bool
    share: float
    finite: bool


class ViewMatch(Record):
    """Given radiographs beside those rendered from their own targets, in every orientation.

    Attributes:
        view: Which view.
        split: ``train`` or ``val``.
        samples: Radiographs compared.
        as_it_is: Median correlation as they are.
        best: Median of the best correlation of each.
        margin: Smallest lead of another orientation that counted.
        better: How many fit better in another orientation, or as another view, by ``margin``.
        how: The commonest of these orientations.
    """

    view: str
    split: str
    samples: int
    as_it_is: float
    best: float
    margin: float
    better: int
    how: str = ""
