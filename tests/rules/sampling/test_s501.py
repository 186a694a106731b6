"""S501: a wrong formula in the loop is found, named and placed; what is wrong elsewhere is left to its own rule."""

from __future__ import annotations

import pytest
import torch

from patients.samplers import cosine, ddim, diffusion_case, linear, trailing
from patients.sitting import findings, line_at, run_check
from traindx.checks.diffusion.sampler import sampler
from traindx.evidence import Evidence
from traindx.evidence.sampling import SamplerRun
from traindx.finding import Severity, Standing

TABLE = cosine()
S_CODES = ("S501", "S502", "S503", "S504", "S505", "S506")


def found(case):
    return findings(run_check(case, sampler), *S_CODES)


def walk(model, batch, rule, table=TABLE, steps=10):
    """A v-sampler around ``rule(x, v, a, s, b, tau)``."""
    x = torch.randn_like(batch["image"])
    plan = trailing(len(table), steps)
    for index, t in enumerate(plan):
        alpha = table[t]
        alpha_next = table[plan[index + 1]] if index + 1 < len(plan) else torch.tensor(1.0)
        v = model(x, torch.full((len(x),), t), batch["condition"])
        x = rule(x, v, alpha.sqrt(), (1 - alpha).sqrt(), alpha_next.sqrt(), (1 - alpha_next).sqrt())
    return x


def published(x, v, a, s, b, tau):
    pred_x0 = a * x - s * v
    pred_noise = (a * x - pred_x0) / s  # wrong
    return b * pred_x0 + tau * pred_noise


def noise_sign(x, v, a, s, b, tau):
    pred_x0 = a * x - s * v
    eps = (a * pred_x0 - x) / s  # wrong
    x0_part = b * pred_x0
    return x0_part + tau * eps


def image_sign(x, v, a, s, b, tau):
    x_start = a * x + s * v  # wrong
    pred_noise = (x - a * x_start) / s
    return b * x_start + tau * pred_noise


def root_forgotten(x, v, a, s, b, tau):
    pred_x0 = a * x - s * v
    pred_noise = (x - a * pred_x0) / (s * s)  # wrong
    return b * pred_x0 + tau * pred_noise


def level_of_this_side(x, v, a, s, b, tau):
    pred_x0 = a * x - s * v
    pred_noise = a * v + s * x
    direction = s * pred_noise
    return b * pred_x0 + direction  # wrong


def nameless(x, v, a, s, b, tau):
    """No known mistake: only the name of the variable tells what it was meant to be."""
    pred_x0 = a * x - s * v
    pred_noise = (x - 0.7 * a * pred_x0) / s  # wrong
    return b * pred_x0 + tau * pred_noise


def inline(x, v, a, s, b, tau):
    return b * (a * x - s * v) + tau * (a * x - (a * x - s * v)) / s  # wrong


def direction_sign(x, v, a, s, b, tau):
    x0 = a * x - s * v
    eps = a * v + s * x
    return b * x0 - tau * eps  # wrong


def output_for_noise(x, v, a, s, b, tau):
    x0 = a * x - s * v
    return b * x0 + tau * v  # wrong


def mean_only(x, v, a, s, b, tau):
    """The DDPM posterior mean with its noise left out."""
    x0 = a * x - s * v
    ratio = a / b
    return b * (1 - ratio**2) / s**2 * x0 + ratio * tau**2 / s**2 * x  # wrong


RULES = {
    published: "ε̂ = (√ᾱ·x − x̂0)/√(1−ᾱ)",
    noise_sign: "ε̂ = (√ᾱ·x̂0 − x)/√(1−ᾱ)",
    image_sign: "x̂0 = √ᾱ·x + √(1−ᾱ)·v̂",
    root_forgotten: "(1−ᾱ)",
    level_of_this_side: "x' = √ᾱ'·x̂0 + √(1−ᾱ)·ε̂",
    nameless: "no other noise level or prediction type explains it",
    inline: "ε̂ = ",  # for v the wrong ε̂ is the output itself
    direction_sign: "x' = √ᾱ'·x̂0 − √(1−ᾱ')·ε̂",
    output_for_noise: "ε̂ = the network's output",
    mean_only: "the mean of the DDPM posterior",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_wrong_formula_is_found_with_its_very_line(rule):
    case = diffusion_case(sample=lambda model, batch: walk(model, batch, rule))
    (finding,) = found(case)
    assert finding.code == "S501"
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.severity is Severity.CRITICAL
    assert RULES[rule] in finding.message
    assert "# wrong" in line_at(finding.location)
    assert finding.location.symbol == rule.__name__
    assert [proposal.treatment for proposal in finding.proposals] == ["reference-sampler"]


def test_the_published_fault_gives_a_constant_image():
    """Its post-mortem reported an output range of 0.028: here the standard deviation is 0 to rounding."""
    (finding,) = found(diffusion_case(sample=lambda model, batch: walk(model, batch, published)))
    assert finding.numbers["output_sd"] < 1e-6
    assert finding.numbers["expected_sd"] > 0.1
    assert finding.numbers["mistake"] == "epsilon-terms-swapped"


def test_the_published_fault_in_a_loop_that_ends_at_timestep_0():
    """Its image is all but constant, so anything agrees with it in rank: it must not pass for a rescaled image."""
    plan = [999, 750, 500, 250]
    loop = ddim(TABLE, "v", timesteps=plan, end=float(TABLE[0]), eps=lambda kind, x, out, x0, a, s: (a * x - x0) / s)
    (finding,) = found(diffusion_case(sample=loop))
    assert finding.code == "S501"
    assert finding.numbers["max_deviation"] > 0.3


@pytest.mark.parametrize("kind", ["epsilon", "v", "sample"])
@pytest.mark.parametrize("table", [cosine(), linear()], ids=["cosine", "linear"])
@pytest.mark.parametrize("steps", [4, 25])
def test_swapped_terms_are_found_for_any_type_schedule_and_number_of_steps(kind, table, steps):
    loop = ddim(table, kind, steps=steps, eps=lambda kind, x, out, x0, a, s: (a * x - x0) / s)
    (finding,) = found(diffusion_case(kind, table, sample=loop))
    assert finding.code == "S501"
    assert finding.numbers["mistake"] == "epsilon-terms-swapped"
    assert finding.location.file.endswith("test_s501.py")


@pytest.mark.parametrize("batch", [1, 2])
def test_a_fault_that_shows_with_one_sample_only(batch):
    """x.mean() over a batch of one is x: the loop is right with two samples and wrong alone."""

    def loop(model, data):
        alone = len(data["image"]) == 1
        return walk(model, data, published if alone else correct)

    (finding,) = found(diffusion_case(sample=loop, batch=batch))
    assert finding.code == "S501"
    assert finding.numbers["batch"] == 1


def correct(x, v, a, s, b, tau):
    pred_x0 = a * x - s * v
    pred_noise = (x - a * pred_x0) / s
    return b * pred_x0 + tau * pred_noise


def test_a_correct_loop_is_left_alone():
    assert found(diffusion_case(sample=lambda model, batch: walk(model, batch, correct))) == []


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"previous": lambda t, following, stride: t - 1}, "S502"),
        ({"time": lambda t: t / 1000}, None),
        ({"clip": (-0.4, 0.4)}, "S506"),
        ({"clip": (-10.0, 10.0)}, None),
        ({"after": lambda x: x.clamp(-3.0, 5.0)}, None),
    ],
    ids=["wrong target level", "time alone", "clip inside the data", "clip far outside", "clamp of x far outside"],
)
def test_near_misses_are_no_wrong_formulas(parts, code):
    reported = {finding.code for finding in found(diffusion_case(sample=ddim(TABLE, "v", **parts)))}
    assert reported == ({code} if code else set())


def test_nan_out_of_an_exact_answer_is_found_at_its_line():
    table = TABLE.clone()
    table[0] = 1.0  # ᾱ_0 = 1 exactly, and the loop ends at timestep 0

    def loop(model, batch):
        return walk(model, batch, correct, table)

    plan_ends_above_zero = found(diffusion_case(table=table, sample=loop))
    assert plan_ends_above_zero == []

    def to_zero(model, batch):
        x = torch.randn_like(batch["image"])
        for t, following in ((999, 500), (500, 0), (0, None)):
            a, s = table[t].sqrt(), (1 - table[t]).sqrt()
            after = table[following] if following is not None else torch.tensor(1.0)
            v = model(x, torch.full((len(x),), t), batch["condition"])
            x0 = a * x - s * v
            x = after.sqrt() * x0 + (1 - after).sqrt() * (x - a * x0) / s  # 0 / 0
        return x

    (finding,) = found(diffusion_case(table=table, sample=to_zero))
    assert (finding.code, finding.standing) == ("S501", Standing.DEMONSTRATED)
    assert "NaN or infinity" in finding.message
    assert line_at(finding.location).endswith("# 0 / 0")


def test_thresholds_follow_the_number_format_of_the_loop():
    """A loop in bfloat16 is off by its rounding, which is no formula."""
    evidence = Evidence()
    base = {"timesteps": (900, 500, 100), "table_length": 1000, "prediction": "v", "misfit": 0.05}
    evidence.add(SamplerRun(**base, resolution=0.0078, dtype="bfloat16"))
    assert findings(evidence, "S501") == []
    evidence.add(SamplerRun(**base, resolution=1e-7, dtype="float32"))
    (finding,) = findings(evidence, "S501")
    assert finding.numbers["misfit"] == 0.05
