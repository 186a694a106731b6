"""Functions that are named for undoing one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from traindx.watch.probes.functions.inverses import _slope

FOURIER = """
import torch

def to_kspace(image):
    return torch.fft.fftshift(torch.fft.fftn(torch.fft.{first}(image, dim=(-2, -1)), dim=(-2, -1)), dim=(-2, -1))

def to_image(kspace):
    return torch.fft.fftshift(torch.fft.ifftn(torch.fft.{first}(kspace, dim=(-2, -1)), dim=(-2, -1)), dim=(-2, -1))

def main():
    image = torch.randn(3, {size}, {size}, dtype=torch.complex64)
    measured = to_kspace(image)
    stop()
"""

BOXES = """
import torch

def encode(points, priors, variance):
    return (points - priors[:, :2]) / variance {operator} priors[:, 2:]

def decode(code, priors, variance):
    return priors[:, :2] + code * variance * priors[:, 2:]

def main():
    priors = torch.rand(50, 4) + 0.2
    priors[:, 2:] = 0.3
    target = encode(torch.rand(50, 2), priors, 0.1)
    stop()
"""


def test_a_shift_that_is_right_for_even_sizes_alone(script: Callable[[str], Any]) -> None:
    faulty = script(FOURIER.format(first="fftshift", size=15))
    (finding,) = faulty.found("D141")
    assert finding.location.line in (faulty.line("fft.fftn"), faulty.line("fft.ifftn"))
    assert "even sizes" in finding.message
    assert not script(FOURIER.format(first="ifftshift", size=15)).found("D141")
    assert not script(FOURIER.format(first="fftshift", size=16)).found("D141")  # where it is right


def test_a_factor_multiplied_with_in_both_directions(script: Callable[[str], Any]) -> None:
    faulty = script(BOXES.format(operator="*"))
    (finding,) = faulty.found("D141")
    assert finding.location.line == faulty.line("points - priors")
    assert abs(finding.numbers["slope"] - 0.09) < 1e-4  # 0.3 twice
    assert not script(BOXES.format(operator="/ 1 /")).found("D141")


def test_what_loses_something_on_purpose_is_no_fault(script: Callable[[str], Any]) -> None:
    near = script(
        """
        import torch

        def normalize(image):
            return (image - image.mean()) / image.std()

        def denormalize(image):
            return ((image + 1) / 2 * 255).clamp(0, 255)

        def encode(image):
            return torch.nn.functional.avg_pool2d(image, 2)

        def decode(code):
            return torch.nn.functional.interpolate(code, scale_factor=2)

        def main():
            image = torch.rand(2, 1, 8, 8) * 7 + 2
            a, b = normalize(image), encode(image)
            stop()
        """
    )
    assert len(near.records) == 2
    assert not near.found("D141")


def test_patches_put_back_in_another_order(script: Callable[[str], Any]) -> None:
    source = """
    import torch

    def patchify(x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(n, h * w // 4, 4 * c)

    def unpatchify(x):
        n, t, d = x.shape
        s = int(t ** 0.5)
        return x.reshape(n, s, s, 2, 2, d // 4).permute(0, 5, {order}).reshape(n, d // 4, 2 * s, 2 * s)

    def main():
        tokens = patchify(torch.rand(2, 3, 8, 8))
        stop()
    """
    assert not script(source.format(order="1, 3, 2, 4")).found("D141")
    assert script(source.format(order="1, 2, 3, 4")).found("D141")


@pytest.mark.parametrize(
    ("factor", "slope"),
    [
        (255.0, 0.0),
        (1 / 255, 0.0),
        (1 / 65535, 0.0),
        (0.09, 0.09),
        (-2.0, -2.0),
        (1.0, 1.0),
        (300.0, 300.0),
    ],
)
def test_a_scale_of_grey_values_is_meant_and_any_other_is_told(factor: float, slope: float) -> None:
    change = torch.randn(64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert _slope(change, factor * change) == pytest.approx(slope)
    assert _slope(change, factor * change.flip(0)) == 0  # no number times what went in
