"""S506: clips that cut into the data, and those that do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from patients.library_samplers import diffusers_case
from patients.samplers import cosine, ddim, diffusion_case
from patients.sitting import findings, line_at, run_check
from traindx.checks.diffusion.sampler import sampler
from traindx.evidence.sampling import SamplerClamp
from traindx.finding import Standing

CODES = ("S501", "S502", "S505", "S506")


def found(case):
    evidence = run_check(case, sampler)
    return evidence, findings(evidence, *CODES)


@pytest.mark.parametrize(
    ("clip", "wrong"),
    [((-0.5, 0.5), True), ((-1.0, 0.7), True), ((-0.7, 1.0), True), ((-1.0, 1.0), False), ((-10.0, 10.0), False)],
)
@pytest.mark.parametrize("kind", ["epsilon", "v", "sample"])
def test_a_clip_of_the_predicted_image(clip, wrong, kind):
    evidence, reported = found(diffusion_case(kind, sample=ddim(cosine(), kind, clip=clip)))
    assert [finding.code for finding in reported] == (["S506"] if wrong else [])
    (clamp,) = evidence.of(SamplerClamp)
    assert (clamp.low, clamp.high, clamp.role) == (*clip, "x0")
    image = diffusion_case().first_batches(1)[0]["image"].double().numpy()
    outside = float(((image < clip[0] - 2e-4) | (image > clip[1] + 2e-4)).mean())
    assert clamp.target_outside == pytest.approx(outside, abs=1e-6)
    if wrong:
        (finding,) = reported
        assert finding.standing is Standing.DEMONSTRATED
        assert "the clamp line" in line_at(finding.location)
        assert finding.proposals[0].parameters == {"low": -1.0, "high": 1.0}
        cut = np.clip(image, *clip)
        ceiling = 10 * np.log10(4 / np.mean((cut - image) ** 2))
        assert finding.numbers["psnr_ceiling_db"] == pytest.approx(ceiling, abs=1e-3)


@pytest.mark.parametrize("clip_range", [1.0, 5.0])
def test_a_scheduler_that_clips_by_default(clip_range):
    """diffusers clips x0 to [-1, 1] unless told otherwise: on z-scored data that cuts a third of the voxels."""
    case = diffusers_case("DDIMScheduler", timestep_spacing="trailing", clip_sample_range=clip_range)

    def z_scored():
        for batch in case.batches():
            yield {**batch, "image": 3 * batch["image"]}

    _, reported = found(case.replace(train=z_scored, data_range=(-3.0, 3.0)))
    if clip_range == 5.0:
        assert reported == []
        return
    (finding,) = reported
    assert "inside the library call on this line" in finding.message
    assert "the scheduler's line" in line_at(finding.location)


@pytest.mark.parametrize(
    ("bounds", "wrong"), [((-1.0, 1.0), True), ((-1.5, 1.5), True), ((-3.0, 5.0), False), ((-4.0, 4.0), False)]
)
def test_a_clamp_of_the_noisy_image(bounds, wrong):
    """[-3, 5] is that of a published project, whose post-mortem blamed it: it changes 0.1 % of the voxels."""
    _, reported = found(diffusion_case(sample=ddim(cosine(), "v", after=lambda x: x.clamp(*bounds)), size=16))
    assert [finding.code for finding in reported] == (["S506"] if wrong else [])


@pytest.mark.parametrize("way", ["torch.clip", "clamp_", "hardtanh", "two sides", "clamp_min"])
def test_every_way_to_write_a_clamp(way):
    def cut(x):
        if way == "torch.clip":
            return torch.clip(x, min=-0.5, max=0.5)
        if way == "clamp_":
            return x.clone().clamp_(-0.5, 0.5)
        if way == "hardtanh":
            return torch.nn.functional.hardtanh(x, -0.5, 0.5)
        if way == "two sides":
            return x.clamp(min=-0.5).clamp(max=0.5)
        return x.clamp_min(-0.5)

    _, reported = found(diffusion_case(sample=ddim(cosine(), "v", x0=lambda k, x, o, a, s: cut(a * x - s * o))))
    assert reported
    assert {finding.code for finding in reported} == {"S506"}
    assert all("cut(" not in line_at(finding.location) for finding in reported)


def test_an_output_that_is_clamped_at_the_very_end():
    loop = ddim(cosine(), "v")
    _, reported = found(diffusion_case(sample=lambda model, batch: loop(model, batch).clamp(0, 1)))
    assert [finding.code for finding in reported] == ["S506"]
    _, reported = found(diffusion_case(sample=lambda model, batch: loop(model, batch).clamp(-1, 1)))
    assert reported == []
