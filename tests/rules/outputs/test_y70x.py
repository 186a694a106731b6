"""Y701, Y702, Y704 to Y707: what a trained model says, on predictions whose defect is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from patients.volumes import blurred, bodies
from traindx.checks.network.outputs import outputs
from traindx.core.spectra import bands_of, by_band, energy
from traindx.evidence import Curve, Picture
from traindx.evidence.outputs import OutputSpectrum, OutputStatistics
from traindx.finding import Standing

CODES = ("Y701", "Y702", "Y704", "Y705", "Y706", "Y707")
VOLUMES = bodies(6, 32)
NOISE = torch.randn(VOLUMES.shape, generator=torch.Generator().manual_seed(0))


class Trained(nn.Module):
    """Says something about each sample, by its number."""

    def __init__(self, says):
        super().__init__()
        self.says = says

    def forward(self, number):
        return self.says[number]


def case(targets=VOLUMES, size=2):
    numbers = torch.arange(len(targets))
    batches = [{"number": numbers[i : i + size], "y": targets[i : i + size]} for i in range(0, len(targets), size)]
    return dx.Case(
        model=lambda: Trained(targets),
        train=batches,
        predict=lambda model, batch: model(batch["number"]),
        target=lambda batch: batch["y"],
    )


def evidence(says, targets=VOLUMES):
    return run_check(case(targets), outputs, trained=Trained(says))


def found(says, targets=VOLUMES):
    return {finding.code: finding for finding in findings(evidence(says, targets), *CODES)}


def test_a_good_prediction_is_left_alone():
    assert found(VOLUMES + 0.03 * NOISE) == {}
    assert found((VOLUMES + 0.03 * NOISE).clamp(-1, 1)) == {}  # near miss: air is at the bound, as in the targets


# Y701, Y702


def test_the_same_image_for_everybody_is_demonstrated_and_named_as_the_mean():
    mean = VOLUMES.mean(0, keepdim=True).expand_as(VOLUMES)
    said = found(mean + 0.001 * NOISE)
    assert said["Y701"].standing is Standing.DEMONSTRATED
    assert said["Y702"].standing is Standing.SUSPECTED
    assert "voxel by voxel" in said["Y702"].message


def test_a_constant_of_another_value_is_collapsed_but_not_the_prior():
    said = found(torch.full_like(VOLUMES, 0.9) + 0.001 * NOISE)
    assert "Y701" in said
    assert "Y702" not in said


def test_a_constant_at_the_mean_value_is_the_prior():
    said = found(torch.full_like(VOLUMES, float(VOLUMES.mean())) + 0.001 * NOISE)
    assert "everywhere" in said["Y702"].message


def test_an_output_without_contrast_is_suspected():
    """The reported symptom: range .028 where the truth has 1.781, different for every patient."""
    said = found(0.02 * NOISE + torch.arange(6).view(-1, 1, 1, 1, 1) * 0.05)
    assert said["Y701"].standing is Standing.SUSPECTED


def test_honest_probabilities_of_rare_labels_are_left_alone():
    """Near miss: a calibrated probability spreads far less than the label itself."""
    labels = (torch.rand(40, 3, generator=torch.Generator().manual_seed(1)) < 0.15).float()
    probabilities = 0.15 + 0.1 * (labels - 0.15)
    assert found(probabilities, labels) == {}
    same = found(torch.full_like(labels, 0.15), labels)
    assert same["Y701"].standing is Standing.DEMONSTRATED
    assert "Y702" in same


def test_a_single_sample_proves_nothing():
    assert found(VOLUMES[:1].mean().expand_as(VOLUMES[:1]).clone(), VOLUMES[:1]) == {}


# Y704


def test_an_output_pressed_against_its_bounds():
    pressed = (4 * (VOLUMES + 0.6) + 3 * NOISE).clamp(-1, 1)
    said = found(pressed)
    assert said["Y704"].standing is Standing.SUSPECTED
    everything_low = torch.where(NOISE > 1.5, VOLUMES, torch.full_like(VOLUMES, 2.0))
    assert found(everything_low)["Y704"].standing is Standing.SUSPECTED  # a pattern shows no cause


def test_masks_are_all_bounds_and_left_alone():
    mask = (VOLUMES > 0).float()
    assert found(mask, mask) == {}
    assert "Y704" not in found((VOLUMES > 0).float() * 2 - 1)


# Y705, Y706


def test_blur_is_suspected_and_noise_demonstrated():
    said = found(blurred(VOLUMES, 4))
    assert said["Y705"].standing is Standing.SUSPECTED
    assert "Y706" not in said
    said = found(VOLUMES + 2 * NOISE)
    assert said["Y706"].standing is Standing.DEMONSTRATED
    assert "Y705" not in said


def test_some_noise_and_some_blur_are_left_alone():
    assert found(VOLUMES + 0.08 * NOISE) == {}
    assert found(0.6 * VOLUMES + 0.4 * blurred(VOLUMES, 2)) == {}


def test_smooth_targets_cannot_be_blurred():
    smooth = blurred(VOLUMES, 8)
    assert "Y705" not in found(blurred(smooth, 4), smooth)


# Y707


@pytest.mark.parametrize(
    "said", [(VOLUMES + 1) / 2, VOLUMES * 2000 + 1000, VOLUMES + 0.6], ids=["unit range", "HU", "offset"]
)
def test_the_right_picture_in_the_wrong_units_is_demonstrated(said):
    finding = found(said + 0.01 * said.std() * NOISE)["Y707"]
    assert finding.standing is Standing.DEMONSTRATED


def test_the_line_back_is_exact():
    finding = found(VOLUMES * 2000 + 1000)["Y707"]
    assert finding.numbers["slope"] == pytest.approx(1 / 2000, abs=1e-4)
    assert finding.numbers["offset"] == pytest.approx(-0.5, abs=1e-3)


def test_values_that_no_target_has_are_demonstrated():
    assert found(NOISE * 0.1 + 5)["Y707"].standing is Standing.DEMONSTRATED


def test_noise_and_shrinkage_are_not_a_matter_of_units():
    """Near miss: noise lowers the slope and regression to the mean raises it, without any wrong unit."""
    assert "Y707" not in found(VOLUMES + 0.5 * NOISE)
    mean = VOLUMES.mean(0, keepdim=True)
    assert "Y707" not in found(mean + 0.7 * (VOLUMES - mean))
    shrunk = VOLUMES.mean() + 0.4 * (VOLUMES - VOLUMES.mean())
    assert "Y707" not in found(shrunk)
    assert "Y707" in found(VOLUMES.mean() + 2 * (VOLUMES - VOLUMES.mean()))


# what is recorded


def test_statistics_are_those_of_numpy():
    said = 0.5 * VOLUMES + 0.1 * NOISE
    (record,) = evidence(said).of(OutputStatistics)
    assert record.samples == 6
    assert record.prediction_mean == pytest.approx(float(said.mean()), abs=1e-6)
    both = np.stack([said.flatten().numpy(), VOLUMES.flatten().numpy()]).astype(np.float64)
    assert record.correlation == pytest.approx(np.corrcoef(both)[0, 1])
    assert record.prediction_spread == pytest.approx(float(said.double().var(0).mean().sqrt()), rel=1e-6)
    assert record.target_at_low == pytest.approx(float((VOLUMES == -1).double().mean()), abs=1e-6)


def test_white_noise_has_a_flat_spectrum_of_one():
    white = torch.randn(4, 1, 32, 32, 32, generator=torch.Generator().manual_seed(3))
    number, middles = bands_of((32, 32, 32))
    bands = by_band(energy(white), number, len(middles))
    assert torch.allclose(bands[3:], torch.ones_like(bands[3:]), atol=0.12)


def test_a_wave_falls_into_its_band():
    number, middles = bands_of((64, 64))
    wave = torch.cos(torch.arange(64) * 2 * torch.pi * 16 / 64).expand(1, 1, 64, 64)  # half of Nyquist
    bands = by_band(energy(wave), number, len(middles))
    assert abs(float(middles[int(bands.argmax())]) - 0.5) < 1 / len(middles)


def test_a_picture_and_a_curve_are_left_for_the_report():
    log = evidence(VOLUMES + 0.1 * NOISE)
    assert [picture.name for picture in log.of(Picture)] == ["output-0", "output-1"]
    panels = log.array("output-0")
    assert panels.shape == (3, 32, 32)
    assert torch.allclose(torch.from_numpy(panels[1]), VOLUMES[0, 0, 16])
    (curve,) = log.of(Curve)
    assert set(curve.series) == {"prediction", "target", "prediction minus target"}
    assert all(len(values) == len(curve.x) for values in curve.series.values())
    (spectrum,) = log.of(OutputSpectrum)
    assert sum(spectrum.shares) == pytest.approx(1)


def test_shapes_that_differ_are_not_examined():
    from traindx.evidence import NotExamined

    log = evidence(VOLUMES[:, :, ::2])
    assert "differ in shape" in log.of(NotExamined)[0].reason
    assert findings(log, *CODES) == []


def test_values_that_are_not_finite_do_not_raise():
    broken = VOLUMES.clone()
    broken[0, 0, 0, 0, 0] = float("nan")
    assert evidence(broken).of(OutputStatistics)[0].finite < 1
