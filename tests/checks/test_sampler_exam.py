"""The sampler's check measures what a loop does, whatever the loop looks like, and leaves everything as it found it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from patients.library_samplers import diffusers_case
from patients.samplers import SCHEDULES, TinyDenoiser, cosine, ddim, diffusion_case, linear, split, trailing
from patients.sitting import findings, line_at, run_check
from traindx.checks import CheckContext
from traindx.checks.diffusion.prediction_type import prediction_type
from traindx.checks.diffusion.sampler import sampler
from traindx.checks.diffusion.schedule import schedule
from traindx.checks.diffusion.time_input import time_input
from traindx.checks.diffusion.training_input import training_input
from traindx.checks.probing import awake_model
from traindx.evidence import Evidence, NotExamined
from traindx.evidence.sampling import SamplerRun, SamplerTransitions

EXAMS = (schedule, training_input, prediction_type, sampler, time_input)
CODES = ("S501", "S502", "S503", "S504", "S505", "S506", "S507")


def run_of(case):
    (run,) = run_check(case, sampler).of(SamplerRun)
    return run


def silent(case):
    evidence = run_check(case, *EXAMS)
    assert not evidence.of(NotExamined), [item.reason for item in evidence.of(NotExamined)]
    assert evidence.of(SamplerRun)
    assert findings(evidence, *CODES) == []
    return evidence.last(SamplerRun)


def gaussian_through(table, timesteps, m, s, end=1.0):
    """Mean and sd of exact DDIM started from N(0, 1), by the affine recursion, written independently of the check."""
    gain, shift = 1.0, 0.0
    for index, t in enumerate(timesteps):
        alpha = float(table[t])
        after = float(table[timesteps[index + 1]]) if index + 1 < len(timesteps) else end
        a, sigma = math.sqrt(alpha), math.sqrt(1 - alpha)
        k = a * s * s / (alpha * s * s + 1 - alpha)
        slope = math.sqrt(after) * k + math.sqrt(1 - after) * (1 - a * k) / sigma
        constant = math.sqrt(after) * (m - k * a * m) - math.sqrt(1 - after) * a * (m - k * a * m) / sigma
        gain, shift = slope * gain, slope * shift + constant
    return shift, gain


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    schedule_name=st.sampled_from(sorted(SCHEDULES)),
    kind=st.sampled_from(["v", "sample", "epsilon"]),
    length=st.sampled_from([50, 200, 1000]),
    steps=st.integers(1, 30),
    centre=st.floats(-2, 2),
    width=st.floats(0.1, 50),
    end=st.sampled_from(["one", "first"]),
)
def test_correct_ddim_is_exact_for_any_schedule_length_and_gaussians(
    schedule_name, kind, length, steps, centre, width, end
):
    table = SCHEDULES[schedule_name](length)
    if kind == "epsilon" and float(table[-1]) < 1e-12:
        kind = "v"  # ε cannot start where there is no signal
    last = 1.0 if end == "one" else float(table[0])
    loop = ddim(table, kind, steps=steps, end=last)
    run = run_of(diffusion_case(kind, table, sample=loop, size=10, data_range=(centre - width, centre + width)))
    assert run.misfit < 1e-5
    assert run.deviation < 1e-5 * (abs(centre) + width)
    mean, sd = gaussian_through(table, trailing(length, steps), run.mean, run.sd, last)
    assert run.output_mean == pytest.approx(mean, abs=1e-4 * (abs(centre) + width))
    assert run.output_sd == pytest.approx(abs(sd), rel=1e-4, abs=1e-6 * width)


def test_more_steps_converge_to_the_gaussian_itself():
    off = []
    for steps in (5, 25, 200):
        run = run_of(diffusion_case(sample=ddim(cosine(), "v", steps=steps), size=16))
        off.append(abs(run.output_sd / run.sd - 1))
    assert off[0] > 0.4 > off[1] > 0.05 > off[2]


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_any_dimension_and_batch(dimensions, batch):
    size = {1: 1500, 2: 40, 3: 12}[dimensions]
    run = silent(diffusion_case(dimensions=dimensions, batch=batch, size=size))
    assert run.dimensions == dimensions
    assert run.batch == min(batch, 2)
    assert run.dtype == "float64"


@pytest.mark.parametrize("convention", ["t", "t / T", "t / (T-1)", "t + 1", "reversed"])
def test_any_convention_of_time_that_training_shares(convention):
    clock = {
        "t": lambda t: t,
        "t / T": lambda t: t / 1000,
        "t / (T-1)": lambda t: t / 999,
        "t + 1": lambda t: t + 1,
        "reversed": lambda t: 1 - t / 1000,
    }[convention]
    silent(diffusion_case(sample=ddim(cosine(), "v", time=clock), training_time=clock))


def test_an_embedding_of_time_that_is_not_affine_is_decoded_by_a_table():
    table = cosine()

    def log_snr(t):
        alpha = table[t].double().clamp(1e-9, 1 - 1e-9)
        return torch.log(alpha / (1 - alpha)).float()

    loop = ddim(table, "v", time=lambda t: float(log_snr(torch.tensor(t))))
    run = silent(diffusion_case(sample=loop, training_time=log_snr))
    assert run.timesteps == tuple(trailing(1000, 10))


class Wrapped(TinyDenoiser):
    """Returns a dictionary, takes concatenated input and a keyword for time, and is one part of a larger model."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, x, *, t, condition=None):
        if self.form == "concatenated":
            x, condition = x[:, :1], x[:, 1:]
        out = super().forward(x, t, condition)
        return {"prediction": out, "features": torch.zeros(3)} if self.form == "dict" else out


class Whole(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.encoder = nn.Conv3d(1, 1, 1)
        self.denoiser = Wrapped(form)


@pytest.mark.parametrize("form", ["dict", "concatenated", "keywords"])
def test_a_network_inside_a_model_with_other_arguments_and_outputs(form):
    table = cosine()
    plan = trailing(1000, 6)

    def call(model, x, t, batch):
        condition = model.encoder(batch["condition"])
        if form == "concatenated":
            return model.denoiser(torch.cat((x, condition), 1), t=t)
        out = model.denoiser(x, t=t, condition=condition)
        return out["prediction"] if form == "dict" else out

    def sample(model, batch):
        x = torch.randn_like(batch["image"])
        for index, t in enumerate(plan):
            alpha = float(table[t])
            after = float(table[plan[index + 1]]) if index + 1 < len(plan) else 1.0
            out = call(model, x, torch.full((len(x),), t), batch)
            x0, eps = split("v", x, out, alpha**0.5, (1 - alpha) ** 0.5)
            x = after**0.5 * x0 + (1 - after) ** 0.5 * eps
        return x

    def loss(model, batch):
        x0 = batch["image"]
        t = torch.randint(0, 1000, (len(x0),))
        alpha = table[t].reshape(-1, 1, 1, 1, 1)
        eps = torch.randn_like(x0)
        out = call(model, alpha.sqrt() * x0 + (1 - alpha).sqrt() * eps, t, batch)
        return {"mse": (out - (alpha.sqrt() * eps - (1 - alpha).sqrt() * x0)).square().mean()}

    case = diffusion_case(
        sample=sample,
        model=lambda: Whole(form),
        loss=loss,
        diffusion__denoise=call,
        diffusion__network=lambda model: model.denoiser,
    )
    run = silent(case)
    # The condition meets the 64-bit x in the user's own cat only if x is passed through it.
    assert run.misfit < 1e-5


def guided(table, *, doubled):
    """Classifier-free guidance: two calls a step, or one call with a doubled batch."""
    plan = trailing(len(table), 8)

    def sample(model, batch):
        x = torch.randn_like(batch["image"])
        for index, t in enumerate(plan):
            alpha = float(table[t])
            after = float(table[plan[index + 1]]) if index + 1 < len(plan) else 1.0
            clock = torch.full((len(x),), t)
            empty = torch.zeros_like(batch["condition"])
            if doubled:
                pair = model(torch.cat((x, x)), clock.repeat(2), torch.cat((batch["condition"], empty)))
                with_condition, without = pair.chunk(2)
            else:
                with_condition, without = model(x, clock, batch["condition"]), model(x, clock, empty)
            out = without + 3.0 * (with_condition - without)
            x0, eps = split("v", x, out, alpha**0.5, (1 - alpha) ** 0.5)
            x = after**0.5 * x0 + (1 - after) ** 0.5 * eps
        return x

    return sample


@pytest.mark.parametrize("doubled", [False, True])
def test_guidance_by_two_conditions(doubled):
    run = silent(diffusion_case(sample=guided(cosine(), doubled=doubled)))
    assert len(run.timesteps) == 8


@pytest.mark.parametrize(
    "finish",
    [
        lambda x: (x + 1) / 2,
        lambda x: x.clamp(-1, 1),
        lambda x: torch.sigmoid(3 * x),
        lambda x: (x > 0).float(),
        lambda x: x[..., 2:-2],
        lambda x: -1000 + 500 * (x + 1),
    ],
    ids=["to [0, 1]", "clamp to range", "sigmoid", "threshold", "crop", "to HU"],
)
def test_what_is_done_to_the_image_after_the_loop_is_not_the_loops_fault(finish):
    loop = ddim(cosine(), "v")
    silent(diffusion_case(sample=lambda model, batch: finish(loop(model, batch))))


def test_returning_the_last_noisy_x_instead_of_x0_is_seen():
    def stops_early(model, batch):
        return ddim(cosine(), "v", timesteps=[999, 799, 599, 399], end=float(cosine()[199]))(model, batch)

    evidence = run_check(diffusion_case(sample=stops_early), *EXAMS)
    (finding,) = findings(evidence, *CODES)
    assert finding.code == "S502"
    assert "noise is left" in finding.message


def ancestral(table, plan, *, noise, variance="small"):
    """DDPM (Ho et al. 2020, eq. 7) along any timesteps, with fresh noise from ``noise(x)``."""

    def sample(model, batch):
        x = torch.randn_like(batch["image"])
        for index, t in enumerate(plan):
            alpha = float(table[t])
            after = float(table[plan[index + 1]]) if index + 1 < len(plan) else 1.0
            out = model(x, torch.full((len(x),), t), batch["condition"])
            x0, _ = split("v", x, out, alpha**0.5, (1 - alpha) ** 0.5)
            beta = 1 - alpha / after
            mean = after**0.5 * beta / (1 - alpha) * x0 + (alpha / after) ** 0.5 * (1 - after) / (1 - alpha) * x
            spread = beta if variance == "large" else (1 - after) / (1 - alpha) * beta
            x = mean + spread**0.5 * noise(x) if index + 1 < len(plan) else mean
        return x

    return sample


SOURCES = {
    "torch.randn_like": torch.randn_like,
    "torch.randn": lambda x: torch.randn(x.shape),
    "Tensor.normal_": lambda x: torch.empty_like(x).normal_(),
    "generator": lambda x: torch.randn(
        x.shape, generator=torch.Generator().manual_seed(int(1e6 * float(x.sum())) % 9999)
    ),
}


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("source", SOURCES)
def test_fresh_noise_is_read_off_so_ancestral_steps_are_exact_too(source, variance):
    run = silent(
        diffusion_case(sample=ancestral(cosine(), trailing(1000, 15), noise=SOURCES[source], variance=variance))
    )
    assert run.stochastic
    assert run.noise_seen
    assert run.deviation < 1e-6


def test_noise_that_torch_did_not_draw_is_estimated():
    def numpy_noise(x):
        return torch.from_numpy(np.random.standard_normal(tuple(x.shape))).to(x)

    case = diffusion_case(sample=ancestral(cosine(), trailing(1000, 15), noise=numpy_noise), size=16)
    run = silent(case)
    assert run.stochastic
    assert not run.noise_seen
    assert 1e-3 < run.statistical_error < 0.05
    halved = ancestral(cosine(), trailing(1000, 15), noise=lambda x: 0.3 * numpy_noise(x))
    assert findings(run_check(diffusion_case(sample=halved, size=16), sampler), "S501", "S502")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("DDIMScheduler", {"timestep_spacing": "trailing", "clip_sample": False}),
        ("DDPMScheduler", {"timestep_spacing": "trailing"}),
        ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
        ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "leading"}),
        ("DPMSolverMultistepScheduler", {}),
        ("UniPCMultistepScheduler", {}),
        ("LMSDiscreteScheduler", {}),
        ("TCDScheduler", {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("kind", ["epsilon", "v"])
def test_schedulers_of_diffusers_are_left_alone(name, options, kind):
    silent(diffusers_case(name, kind, steps=10, **options))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("HeunDiscreteScheduler", "a timestep is used twice"),
        ("PNDMScheduler", "a timestep is used twice"),
        ("KDPM2DiscreteScheduler", "are none of the 1000 timesteps"),
    ],
)
def test_solvers_with_stages_are_not_examined_rather_than_accused(name, says):
    evidence = run_check(diffusers_case(name, steps=10, timestep_spacing="leading"), *EXAMS)
    assert findings(evidence, *CODES) == []
    assert any(says in item.reason for item in evidence.of(NotExamined))
    assert all(item.where and item.where.file.endswith("library_samplers.py") for item in evidence.of(NotExamined))


def edm(model, batch):
    """EDM (Karras et al. 2022) passes c_noise = log(sigma)/4, which is no timestep of the table."""
    x = 80 * torch.randn_like(batch["image"])
    for sigma, after in ((80.0, 20.0), (20.0, 1.0), (1.0, 0.0)):
        scaled = x / (1 + sigma**2) ** 0.5
        out = model(scaled, torch.full((len(x),), math.log(sigma) / 4 + 0.1), batch["condition"])
        x = x + (after - sigma) * (x - out) / sigma
    return x


def never(model, batch):
    return torch.randn_like(batch["image"])


def crashes(model, batch):
    out = model(torch.randn_like(batch["image"]), torch.tensor([999]), batch["condition"])
    return out + torch.zeros(7)


def crashes_alone(model, batch):
    image = ddim(cosine(), "v")(model, batch)
    assert len(image) > 1, "needs two"
    return image


def blurs(model, batch):
    x = torch.randn_like(batch["image"])
    plan = trailing(1000, 6)
    for index, t in enumerate(plan):
        alpha, after = float(cosine()[t]), float(cosine()[plan[index + 1]]) if index < 5 else 1.0
        out = model(x, torch.full((len(x),), t), batch["condition"])
        x0, eps = split("v", x, out, alpha**0.5, (1 - alpha) ** 0.5)
        x0 = torch.nn.functional.avg_pool3d(x0, 3, 1, 1)
        x = after**0.5 * x0 + (1 - after) ** 0.5 * eps
    return x


@pytest.mark.parametrize(
    ("loop", "says"),
    [
        (never, "never called the module"),
        (crashes, "RuntimeError"),
        (edm, "are none of the 1000 timesteps"),
        (crashes_alone, "needs two"),
        (blurs, "not a linear function"),
    ],
)
def test_what_cannot_be_examined_is_listed_with_the_users_line(loop, says):
    evidence = run_check(diffusion_case(sample=loop), *EXAMS)
    reasons = [item for item in evidence.of(NotExamined) if says in item.reason]
    assert reasons, [item.reason for item in evidence.of(NotExamined)]
    assert findings(evidence, *CODES) == []
    if loop is not never:
        assert reasons[0].where is not None
        assert reasons[0].where.file.endswith("test_sampler_exam.py") or loop is crashes_alone
    if loop is crashes:
        assert line_at(reasons[0].where) == "return out + torch.zeros(7)"


def test_a_loop_in_32_bit_is_examined_in_its_own_precision():
    table = linear()

    class Narrow(TinyDenoiser):
        pass

    def sample(model, batch):
        x = torch.randn_like(batch["image"])
        plan = trailing(1000, 20)
        for index, t in enumerate(plan):
            alpha = table[t]
            after = table[plan[index + 1]] if index + 1 < len(plan) else torch.tensor(1.0)
            out = model(x, torch.full((len(x),), t), batch["condition"])
            model.layer(torch.cat((x, batch["condition"]), 1))  # a layer of its own: refuses a 64-bit x
            x0, eps = split("epsilon", x, out, alpha.sqrt(), (1 - alpha).sqrt())
            x = after.sqrt() * x0 + (1 - after).sqrt() * eps
        return x

    run = silent(diffusion_case("epsilon", table, sample=sample, model=Narrow))
    assert run.dtype == "float32"
    assert 1e-9 < run.misfit < 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_judged_by_its_own_rounding(dtype):
    def sample(model, batch):
        return ddim(cosine(), "v", steps=8)(model, {name: value.to(dtype) for name, value in batch.items()})

    run = silent(diffusion_case(sample=sample))
    assert run.dtype == str(dtype).removeprefix("torch.")
    wrong = ddim(cosine(), "v", steps=8, eps=lambda kind, x, out, x0, a, s: (a * x - x0) / s)
    case = diffusion_case(
        sample=lambda model, batch: wrong(model, {name: value.to(dtype) for name, value in batch.items()})
    )
    assert [finding.code for finding in findings(run_check(case, *EXAMS), *CODES)] == ["S501"]


class Autoencoder(nn.Module):
    """Latents of half the size and four channels, denoised; the image is decoded at the very end."""

    def __init__(self):
        super().__init__()
        self.decode = nn.ConvTranspose2d(4, 1, 2, 2)
        self.denoiser = nn.Conv2d(4, 4, 3, padding=1)


@pytest.mark.parametrize("wrong", [False, True])
def test_latents_are_examined_where_the_case_says_how_to_read_the_call(wrong):
    table, plan = cosine(), trailing(1000, 6)

    def sample(model, batch):
        z = torch.randn(len(batch["image"]), 4, 20, 20)
        for index, t in enumerate(plan):
            a, s = float(table[t]) ** 0.5, (1 - float(table[t])) ** 0.5
            after = float(table[plan[index + 1]]) if index + 1 < len(plan) else 1.0
            out = model.denoiser.forward(z, t)
            x0, eps = split("v", z, out, a, s)
            z = after**0.5 * x0 + (1 - after) ** 0.5 * (-eps if wrong else eps)
        return model.decode(z.float())

    case = diffusion_case(
        dimensions=2,
        size=40,
        model=Autoencoder,
        sample=sample,
        loss=None,
        diffusion__network=lambda model: model.denoiser,
        diffusion__read_call=lambda args, kwargs: args,
    )
    evidence = run_check(case, sampler, time_input)
    assert evidence.last(SamplerRun).post_processed
    assert [finding.code for finding in findings(evidence, *CODES)] == (["S501"] if wrong else [])


def test_a_counter_that_is_changed_in_place():
    def sample(model, batch):
        x, table = torch.randn_like(batch["image"]), cosine()
        counter = torch.full((len(x),), 990.0, dtype=torch.float64)
        for t, following in ((990, 660), (660, 330), (330, None)):
            out = model(x, counter, batch["condition"])
            counter -= 330
            alpha, after = float(table[t]), float(table[following]) if following else 1.0
            x0, eps = split("v", x, out, alpha**0.5, (1 - alpha) ** 0.5)
            x = after**0.5 * x0 + (1 - after) ** 0.5 * eps
        return x

    assert silent(diffusion_case(sample=sample)).timesteps == (990, 660, 330)


def test_evidence_is_read_back_from_disk_as_it_was_written(tmp_path):
    case = diffusion_case(sample=ddim(cosine(), "v", eps=lambda kind, x, out, x0, a, s: (a * x - x0) / s))
    written = Evidence(tmp_path)
    ctx = CheckContext(case, written)
    for check in EXAMS:
        check.function(ctx)
    written.close()
    read = Evidence.load(tmp_path)
    assert len(read) == len(written)
    assert findings(read, *CODES) == findings(written, *CODES) != []


def test_the_exam_leaves_model_hooks_modes_and_random_state_as_they_were():
    case = diffusion_case()
    ctx = CheckContext(case, run_check(case))
    model = awake_model(ctx)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = dict(vars(model))
    modes = [module.training for module in model.modules()]
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(2), np.random.rand(2)
    torch.manual_seed(3)
    np.random.seed(3)
    for check in EXAMS:
        check.function(ctx)
    assert torch.equal(torch.rand(2), expected[0])
    assert np.array_equal(np.random.rand(2), expected[1])
    assert dict(vars(model)) == attributes
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_all_exams_of_sampling_together_are_quick():
    import time

    case = diffusion_case(sample=ddim(cosine(), "v", steps=25), size=32)
    started = time.process_time()
    run_check(case, *EXAMS)
    assert time.process_time() - started < 4


def test_transitions_are_recorded_for_every_step():
    (steps,) = run_check(diffusion_case(), sampler).of(SamplerTransitions)
    assert len(steps.p) == len(steps.timesteps) == 10
    assert np.allclose(np.square(steps.p), steps.alpha_bar_next, atol=1e-6)
    assert np.allclose(np.square(steps.p) + np.square(steps.q), 1, atol=1e-6)
