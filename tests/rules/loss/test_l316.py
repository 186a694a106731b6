"""L316: masks over Fourier coefficients, about the right point and about the wrong one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import traindx as dx
from patients.sitting import findings, line_at, run_check
from patients.volumes import images
from traindx.checks.loss.operations import loss_operations
from traindx.evidence.loss import FourierMask
from traindx.finding import Standing

SIDE = 16


def distance(centred: bool, half: bool = False):
    """From frequency zero, at the middle or at index 0."""
    one = (torch.arange(SIDE) - SIDE // 2).abs() if centred else SIDE * torch.fft.fftfreq(SIDE).abs()
    other = torch.arange(SIDE // 2 + 1) if half else one
    return (one[:, None] ** 2 + other[None, :] ** 2).float().sqrt()


def found(term):
    x = images(4, SIDE)
    case = dx.Case(
        model=lambda: nn.Conv2d(1, 1, 3, padding=1),
        train=[{"x": x, "y": x.flip(3)}],
        loss=lambda model, batch: term(model(batch["x"]), batch["y"]),
    )
    evidence = run_check(case, loss_operations)
    return evidence, findings(evidence, "L316")


def fourier(p):
    return torch.fft.fft2(p, norm="ortho")


def shifted(p):
    return torch.fft.fftshift(fourier(p), dim=(-2, -1))


@pytest.mark.parametrize("radius", [3, 4, 6])
@pytest.mark.parametrize("high", [False, True])
def test_a_disc_about_the_middle_of_plain_coefficients_is_demonstrated(radius, high):
    mask = (distance(True) > radius) == high

    def term(p, y):
        return ((fourier(p) - fourier(y)) * mask).abs().mean()

    _, (finding,) = found(term)
    assert finding.standing is Standing.DEMONSTRATED
    assert "* mask" in line_at(finding.location)


def test_a_disc_about_index_0_of_shifted_coefficients_is_demonstrated():
    mask = distance(False) < 4
    _, (finding,) = found(lambda p, y: (shifted(p) - shifted(y))[..., mask].abs().mean())
    assert "shifted" in finding.message


RIGHT = {
    "fftfreq": lambda p, y: ((fourier(p) - fourier(y)) * (distance(False) > 4)).abs().mean(),
    "shifted": lambda p, y: ((shifted(p) - shifted(y)) * (distance(True) > 4)).abs().mean(),
    "weights": lambda p, y: ((fourier(p) - fourier(y)).abs() * distance(False)).mean(),
    "real": lambda p, y: (torch.fft.rfft2(p - y).abs() * distance(False, half=True)).mean(),
    "indexed": lambda p, y: (fourier(p) - fourier(y))[..., distance(False) < 4].abs().mean(),
}


@pytest.mark.parametrize("name", RIGHT)
def test_masks_about_the_right_point_are_seen_and_left_alone(name):
    evidence, finding = found(RIGHT[name])
    assert evidence.of(FourierMask)
    assert finding == []


def test_a_window_before_the_transform_and_a_filter_of_one_axis_are_no_such_masks():
    window = torch.hann_window(SIDE)[:, None] * torch.hann_window(SIDE)
    stripes = (torch.arange(SIDE) > 4).float()

    def term(p, y):
        return (fourier(window * p) - fourier(window * y)).mul(stripes).abs().mean()

    evidence, finding = found(term)
    assert finding == []
    assert not evidence.of(FourierMask)
