"""E801 and E802: metrics under predictions of known quality, and the peak that a PSNR really uses."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

import traindx as dx
from patients.sitting import findings, run_check
from patients.volumes import images
from traindx.checks.metrics.reference_predictions import metric_probe
from traindx.evidence.evaluation import PeakProbe
from traindx.finding import Standing


def psnr(peak):
    return lambda prediction, target: 10 * torch.log10(peak**2 / (prediction - target).square().mean())


def case(metric, target=None, higher=True, **parts):
    x = images(6, 32)
    y = x if target is None else target(x)
    return dx.Case(
        model=lambda: nn.Conv2d(1, 1, 3, padding=1),
        train=[{"x": x[:4], "y": y[:4]}],
        val=[{"x": x[4:], "y": y[4:]}],
        target=lambda batch: batch["y"],
        metrics={"score": dx.Metric(metric, higher_is_better=higher)},
    ).replace(**parts)


def found(patient, code):
    return findings(run_check(patient, metric_probe), code)


UNIT = lambda x: (x + 1) / 2  # noqa: E731  ([0, 1] data)


@pytest.mark.parametrize(
    ("peak", "target", "declared", "offset"),
    [
        (2.0, UNIT, (0.0, 1.0), 6.02),  # the documented +6.02 dB
        (4095.0, lambda x: x * 1250 + 250, (-1000.0, 1500.0), 4.29),  # the documented +4.29 dB
        (1.0, None, (-1.0, 1.0), -6.02),
    ],
)
def test_the_offset_of_a_wrong_peak_is_stated_in_db(peak, target, declared, offset):
    (finding,) = found(case(psnr(peak), target, data_range=declared), "E802")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.numbers["offset_db"] == pytest.approx(offset, abs=0.01)
    assert finding.numbers["peak"] == pytest.approx(peak, rel=1e-3)


def test_the_figure_is_what_torchmetrics_gives_too():
    """Independent reference: the offset is the difference of two PSNR of another library."""
    x = UNIT(images(6, 32)[4:])
    noisy = x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    difference = peak_signal_noise_ratio(noisy, x, data_range=2.0) - peak_signal_noise_ratio(noisy, x, data_range=1.0)
    (finding,) = found(case(psnr(2.0), UNIT, data_range=(0.0, 1.0)), "E802")
    assert finding.numbers["offset_db"] == pytest.approx(float(difference), abs=0.01)


def test_without_a_declared_range_a_large_peak_is_suspected_and_a_small_one_demonstrated():
    assert found(case(psnr(2.0), UNIT), "E802")[0].standing is Standing.SUSPECTED
    assert found(case(psnr(1.0)), "E802")[0].standing is Standing.DEMONSTRATED


def test_a_peak_taken_from_the_target_is_demonstrated():
    moving = lambda p, t: 10 * torch.log10((t.max() - t.min()) ** 2 / (p - t).square().mean())  # noqa: E731
    (finding,) = found(case(moving, data_range=(-1.0, 1.0)), "E802")
    assert finding.standing is Standing.DEMONSTRATED
    assert "taken from the images" in finding.message


def clipping(prediction, target):
    """Near miss: clips to the range before it scores, as evaluation code often does."""
    return psnr(2.0)(prediction.clamp(-1, 1), target)


def in_hounsfield(prediction, target):
    """Near miss: scores in HU with the peak of the HU window."""
    return psnr(4000.0)(prediction * 2000 + 1000, target * 2000 + 1000)


def slicewise(prediction, target):
    return torch.stack([psnr(2.0)(p, t) for p, t in zip(prediction, target, strict=True)]).mean()


@pytest.mark.parametrize("metric", [psnr(2.0), clipping, in_hounsfield, slicewise])
@pytest.mark.parametrize("declared", [(-1.0, 1.0), None])
def test_right_peaks_are_left_alone(metric, declared):
    assert found(case(metric, data_range=declared), "E802") == []
    assert found(case(metric, data_range=declared), "E801") == []


def test_data_that_does_not_fill_a_declared_range_is_no_fault():
    """Near miss: no bone in these slices, so the targets end at half of the window; the peak is the window's."""
    assert found(case(psnr(2.0), lambda x: x * 0.6 - 0.4, data_range=(-1.0, 1.0)), "E802") == []


def test_the_range_of_a_saturating_normaliser_is_used():
    window = dx.Normaliser(encode=lambda hu: ((hu + 1000) / 2500).clamp(0, 1), decode=lambda value: value * 2500 - 1000)
    evidence = run_check(case(psnr(2.0), UNIT, normaliser=window), metric_probe)
    (probe,) = evidence.of(PeakProbe)
    assert (probe.range_low, probe.range_high, probe.declared) == (0.0, 1.0, True)
    assert findings(evidence, "E802")[0].standing is Standing.DEMONSTRATED


def test_a_metric_in_raw_units_states_its_own_window():
    """Near miss: the network sees a narrow window, the metric is a PSNR over a wide one in HU, on purpose."""
    narrow = dx.Normaliser(encode=lambda hu: (hu / 200).clamp(-1, 1), decode=lambda value: value * 200)
    metric = dx.Metric(psnr(2.0), unit="dB", raw=psnr(2000.0))
    patient = case(psnr(2.0), normaliser=narrow).replace(metrics={"psnr": metric})
    assert found(patient, "E802") == []
    assert found(patient, "E801") == []


def test_metrics_that_are_no_psnr_have_no_peak():
    for metric in (
        lambda p, t: (p - t).abs().mean(),
        lambda p, t: structural_similarity_index_measure(p, t, data_range=2.0),
    ):
        assert run_check(case(metric, higher=False), metric_probe).of(PeakProbe) == []


# E801


def test_a_placeholder_is_demonstrated():
    (finding,) = found(case(lambda p, t: 0.0), "E801")
    assert finding.standing is Standing.DEMONSTRATED
    assert "whatever it is given" in finding.message


def test_a_metric_of_the_truth_with_itself_is_demonstrated():
    (finding,) = found(case(lambda p, t: 7 / 9 + 0 * (t - t).sum()), "E801")
    assert "whatever it is given" in finding.message


def test_a_direction_the_wrong_way_round():
    (finding,) = found(case(lambda p, t: (p - t).abs().mean(), higher=True), "E801")
    assert "higher-is-better" in finding.message
    assert found(case(lambda p, t: (p - t).abs().mean(), higher=False), "E801") == []


def test_one_corrupted_voxel_must_not_help():
    def normalised(p, t):
        low, high = torch.minimum(p.min(), t.min()), torch.maximum(p.max(), t.max())
        return psnr(1.0)((p - low) / (high - low), (t - low) / (high - low))

    (finding,) = found(case(normalised), "E801")
    assert finding.standing is Standing.DEMONSTRATED
    assert "one voxel of a wrong prediction is corrupted" in finding.message


def test_blindness_to_sign_is_suspected():
    (finding,) = found(case(lambda p, t: structural_similarity_index_measure(p.abs(), t.abs(), data_range=2.0),
                            lambda x: x - x.mean()), "E801")  # fmt: skip
    assert finding.standing is Standing.SUSPECTED


def test_a_not_a_number_for_perfection_is_demonstrated():
    (finding,) = found(case(lambda p, t: float("nan") if torch.equal(p, t) else -float((p - t).abs().mean())), "E801")
    assert "not a number" in finding.message


def dice(p, t):
    return 2 * (p * t).sum() / (p.sum() + t.sum())


def test_healthy_metrics_are_left_alone():
    ssim = lambda p, t: structural_similarity_index_measure(p, t, data_range=2.0)  # noqa: E731
    assert found(case(ssim), "E801") == []
    assert found(case(dice, lambda x: (x > 0).float()), "E801") == []
    assert found(case(lambda p, t: (p == t).float().mean(), lambda x: (x > 0).long()), "E801") == []


def test_a_metric_that_refuses_stand_ins_is_not_examined():
    def refuses(p, t):
        raise ValueError("one class only")

    from traindx.evidence import NotExamined

    evidence = run_check(case(refuses), metric_probe)
    assert "one class only" in evidence.of(NotExamined)[0].reason
    assert findings(evidence, "E801", "E802") == []
