"""Treatments of the sampler, against the closed form of the exact Gaussian denoiser and the user's own loop."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import nn
from trial_cases import T, alphas_cumprod, diffusion, finding, treated

import traindx as dx
from traindx.finding import Proposal
from traindx.trials import post_processing
from traindx.trials.proposals import resolve
from traindx.trials.scoring import score
from traindx.trials.time_coding import SamplingClock, TimeCoding, training_coding
from traindx.trials.training import train
from traindx.trials.treatment import TreatmentUnfitError, compose

MEAN, SD = 0.3, 0.2


class Gaussian(nn.Module):
    """The exact denoiser of x0 ~ N(MEAN, SD^2) for time given as ``t * scale``; whatever it is given is remembered."""

    def __init__(self, prediction, scale):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.prediction, self.scale = prediction, scale
        self.recorded = []

    def forward(self, x, time, condition=None):
        self.recorded.append(time)
        t = (torch.as_tensor(time).double().reshape(-1) / self.scale).round().long().clamp(0, T - 1)
        bar = alphas_cumprod().double()[t].view(-1, 1, 1, 1)
        a, s = bar.sqrt(), (1 - bar).sqrt()
        x = x.double()
        x0 = MEAN + a * SD**2 / (a**2 * SD**2 + s**2) * (x - a * MEAN)
        noise = (x - a * x0) / s
        return {"sample": x0, "epsilon": noise, "v": a * noise - s * x0}[self.prediction].float()


def oracle(prediction="v", *, scale=1 / T, sampling_scale=None, calls=8, wrong=None, form=None, finish=None, clip=None):
    """A case whose network is exact and whose sampling loop may have a fault."""
    bar = alphas_cumprod()
    form = form or (lambda value: value)

    def denoise(model, x, t, batch):
        return model(x, form(t.float() * scale), batch["condition"])

    def sample(model, batch):
        x = torch.randn_like(batch["image"])
        times = torch.linspace(T - 1, 0, calls).round().long()
        for i, t in enumerate(times):
            a, s = bar[t].sqrt(), (1 - bar[t]).sqrt()
            time = (t.float() * (scale if sampling_scale is None else sampling_scale)).expand(len(x))
            out = model(x, form(time), batch["condition"])
            assumed = "epsilon" if wrong == "type" else prediction
            x0 = {"v": a * x - s * out, "epsilon": (x - s * out) / a.clamp_min(1e-3), "sample": out}[assumed]
            if clip is not None:
                x0 = x0.clamp(*clip)
            noise = (a * x - x0) / s if wrong == "epsilon formula" else (x - a * x0) / s
            if i + 1 < len(times):
                step = max(0, t - T // calls) if wrong == "stride" else times[i + 1]
                x = bar[step].sqrt() * x0 + (1 - bar[step]).sqrt() * noise
        return finish(x0) if finish else x0

    generator = torch.Generator().manual_seed(0)
    batch = {
        "image": MEAN + SD * torch.randn(4, 1, 8, 8, generator=generator),
        "condition": torch.zeros(4, 1, 2, 2),
    }
    return dx.Case(
        model=lambda: Gaussian(prediction, scale),
        train=[batch],
        loss=lambda model, batch: model.anchor.square().sum(),
        target=lambda batch: batch["image"],
        metrics={"mse": dx.Metric(lambda p, t: (p - t).square().mean(), higher_is_better=False)},
        diffusion=dx.Diffusion(alphas_cumprod=bar, prediction=prediction, denoise=denoise, sample=sample, clip=clip),
    ), batch


def closed_form(noise, calls=8):
    """Where exact deterministic DDIM takes noise: an affine map, step by step, in 64 bits."""
    bar = alphas_cumprod().double()
    times = torch.linspace(T - 1, 0, calls).round().long()
    slope, shift = 1.0, 0.0  # x_t = slope * noise + shift
    for i, t in enumerate(times):
        a, s = bar[t].sqrt(), (1 - bar[t]).sqrt()
        k = a * SD**2 / (a**2 * SD**2 + s**2)
        x0 = (k * slope, MEAN + k * (shift - a * MEAN))
        e = ((slope - a * x0[0]) / s, (shift - a * x0[1]) / s)
        if i + 1 < len(times):
            b = bar[times[i + 1]]
            slope, shift = (b.sqrt() * p + (1 - b).sqrt() * q for p, q in zip(x0, e, strict=True))
    return x0[0] * noise.double() + x0[1]


def sampled(case, batch, seed=0):
    model = case.model()
    torch.manual_seed(seed)
    noise = torch.randn_like(batch["image"])
    torch.manual_seed(seed)
    with torch.no_grad():
        return case.diffusion.sample(model, batch), noise, model


@pytest.mark.parametrize("prediction", ["v", "epsilon", "sample"])
@pytest.mark.parametrize("wrong", [None, "epsilon formula", "stride"])
def test_reference_sampler_is_the_closed_form_whatever_is_wrong_with_the_loop(prediction, wrong):
    case, batch = oracle(prediction, wrong=wrong)
    result, noise, _ = sampled(treated(case, "reference-sampler"), batch)
    expected = closed_form(noise)
    # terminal SNR 0: epsilon is divided by a = 1e-8 there, which no formula survives
    tolerance = 1e-5 if prediction != "epsilon" else 2e-2
    assert (result - expected).abs().max() < tolerance
    untreated = sampled(case, batch)[0]
    if wrong and prediction != "epsilon":
        assert (untreated - expected).abs().max() > 0.05


def test_reference_sampler_leaves_times_and_conditions_to_the_user():
    case, batch = oracle(wrong="epsilon formula", sampling_scale=1.0)
    plain = sampled(case, batch)[2].recorded
    recorded = sampled(treated(case, "reference-sampler"), batch)[2].recorded
    assert len(recorded) == len(plain) == 8
    assert all(torch.equal(a, b) for a, b in zip(recorded, plain, strict=True))


def test_reference_sampler_changes_nothing_where_the_loop_is_right():
    case = diffusion(steps=30).replace(diffusion__clip=None)
    model = train(case, 0).model
    before, after = score(case, model, 0), score(treated(case, "reference-sampler"), model, 0)
    assert after.values["psnr"] == pytest.approx(before.values["psnr"], abs=0.1)


def curve(x):
    return torch.sigmoid(4 * x)


@pytest.mark.parametrize(
    "finish",
    [
        lambda x: x.clamp(0.2, 0.5),
        lambda x: (x.clamp(-1, 1) + 1) / 2,
        lambda x: 1000 * x - 200,
        curve,
    ],
    ids=["clip", "to unit range", "to HU", "curve"],
)
def test_reference_sampler_keeps_the_users_post_processing(finish):
    case, batch = oracle(wrong="epsilon formula", finish=finish)
    result, noise, _ = sampled(treated(case, "reference-sampler"), batch)
    expected = finish(closed_form(noise))
    spread = float(expected.max() - expected.min())
    assert (result - expected).abs().max() < (1e-4 if finish is not curve else 0.02) * spread


KNOWN = torch.linspace(-3, 3, 64)
NOISE = torch.randn(64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (2 * KNOWN + 1, 2 * KNOWN + 1),
        (KNOWN.clamp(-1, 1), KNOWN.clamp(-1, 1)),
        (KNOWN.tanh(), KNOWN.tanh()),
        (torch.ones(64), KNOWN),  # nothing of the image comes back
        (torch.where(KNOWN > 2.9, torch.nan, KNOWN + 1), KNOWN),
        (NOISE, KNOWN),  # something does, but no curve tells what
    ],
    ids=["line", "clip", "curve", "constant", "NaN", "noise"],
)
def test_only_what_is_a_curve_of_the_image_is_kept(shown, expected, monkeypatch):
    monkeypatch.setattr(post_processing, "ask_stand_in", lambda *_: (KNOWN, shown))
    case, batch = oracle()
    kept = post_processing.read_post_processing(case, case.diffusion.sample, None, None, batch)
    assert torch.allclose(kept(KNOWN), expected, atol=1e-4)


def test_reference_sampler_refuses_a_loop_that_calls_twice_at_one_step():
    case, batch = oracle()
    inner = case.diffusion.sample

    def guided(model, batch):
        out = inner(model, batch)
        model(torch.randn_like(batch["image"]), torch.tensor([0.99]), batch["condition"])
        return out

    with pytest.raises(TreatmentUnfitError, match="falling timesteps"):
        sampled(treated(case.replace(diffusion__sample=guided), "reference-sampler"), batch)


FORMS = {
    "vector": lambda value: value,
    "column": lambda value: value.view(-1, 1),
    "long": lambda value: value.round().long(),
    "scalar": lambda value: value.reshape(-1)[0],
    "number": lambda value: float(value.reshape(-1)[0]),
}


# whole numbers carry raw timesteps only
CODINGS = [(form, scale) for form in FORMS for scale in (1.0, 1 / T, 1 / (T - 1)) if form != "long" or scale == 1.0]


@pytest.mark.parametrize(("form", "scale"), CODINGS)
def test_time_is_read_in_every_form_and_coding(scale, form):
    case, batch = oracle(scale=scale, form=FORMS[form], wrong="epsilon formula")
    coding = training_coding(case)
    assert coding.scale == pytest.approx(scale, rel=1e-4)
    assert coding.offset == pytest.approx(0.0, abs=1e-6)
    result, noise, _ = sampled(treated(case, "reference-sampler"), batch)
    assert (result - closed_form(noise)).abs().max() < 1e-5


@pytest.mark.parametrize("training", [1.0, 1 / T, 1 / (T - 1)])
@pytest.mark.parametrize("sampling", [1.0, 1 / T, 1 / (T - 1)])
def test_the_clock_reads_a_whole_loop_whatever_training_uses(training, sampling):
    clock = SamplingClock(TimeCoding(training), T)
    for t in (T - 1, 60, 17, 1, 0):
        read = clock.decode(torch.tensor([t * sampling], dtype=torch.float32), "cpu")
        assert float(read) == pytest.approx(t, abs=0.02)


def test_a_time_that_means_nothing_is_refused():
    with pytest.raises(TreatmentUnfitError, match="no timestep"):
        SamplingClock(TimeCoding(1.0), T).decode(torch.tensor([12345.6]), "cpu")


@pytest.mark.parametrize("parameters", [{}, {"scale": 1 / T, "offset": 0.0}], ids=["measured", "given"])
@pytest.mark.parametrize("form", ["vector", "column", "number"])
def test_time_as_in_training_mends_raw_time_and_nothing_else(parameters, form):
    case, batch = oracle(sampling_scale=1.0, form=FORMS[form])
    wrong, noise, _ = sampled(case, batch)
    assert (wrong - closed_form(noise)).abs().max() > 0.05
    result, noise, model = sampled(treated(case, "time-as-in-training", **parameters), batch)
    assert (result - closed_form(noise)).abs().max() < 1e-5
    if form == "column":
        assert all(time.shape == (4, 1) for time in model.recorded)


def test_time_as_in_training_leaves_training_alone():
    case = diffusion(raw_time=True, steps=5)
    assert train(treated(case, "time-as-in-training"), 0).weights == train(case, 0).weights


@pytest.mark.parametrize("parameters", [{}, {"type": "v"}, {"type": "v", "assumed": "epsilon"}])
def test_prediction_type_translates_the_output_for_the_sampler(parameters):
    case, batch = oracle("v", wrong="type")
    wrong, noise, _ = sampled(case, batch)
    assert (wrong - closed_form(noise)).abs().max() > 0.05
    result, noise, _ = sampled(treated(case, "prediction-type", **parameters), batch)
    # the loop divides by a at terminal SNR 0 and bounds that: the first step is not exact
    assert (result - closed_form(noise)).abs().max() < 0.05


def test_prediction_type_does_nothing_where_the_sampler_is_right():
    case, batch = oracle("v")
    result, noise, _ = sampled(treated(case, "prediction-type"), batch)
    assert (result - closed_form(noise)).abs().max() < 1e-5


def test_clip_to_data_exchanges_the_declared_bounds():
    case, batch = oracle(clip=(0.25, 0.35))
    clipped, noise, _ = sampled(case, batch)
    assert clipped.min() >= 0.25
    result, noise, _ = sampled(treated(case, "clip-to-data", low=-1.0, high=1.5), batch)
    assert (result - closed_form(noise)).abs().max() < 1e-5


def test_clip_to_data_clips_the_prediction_where_no_clip_is_declared():
    case, batch = oracle()
    result = sampled(treated(case, "clip-to-data", low=0.2, high=0.4), batch)[0]
    assert (float(result.min()), float(result.max())) == (pytest.approx(0.2), pytest.approx(0.4))


def test_clip_to_data_needs_a_range():
    case, _ = oracle()
    with pytest.raises(TreatmentUnfitError, match="range"):
        treated(case, "clip-to-data")
    assert resolve(Proposal(treatment="clip-to-data"), case.replace(data_range=(0.0, 1.0))) is not None


def test_a_noisy_image_stacked_with_its_condition_is_reached_through_read_call():
    bar = alphas_cumprod()

    class Stacked(Gaussian):
        def forward(self, stack, time):
            return super().forward(stack[:, :1], time)

    case, batch = oracle("v", wrong="epsilon formula")
    extra = torch.ones(4, 2, 8, 8)

    def wrapped(model):
        return lambda x, time, condition: model(torch.cat([x, extra], dim=1), time)

    inner = case.diffusion
    case = case.replace(
        model=lambda: Stacked("v", 1 / T),
        diffusion=dx.Diffusion(
            alphas_cumprod=bar,
            prediction="v",
            denoise=lambda model, x, t, batch: inner.denoise(wrapped(model), x, t, batch),
            sample=lambda model, batch: inner.sample(wrapped(model), batch),
            read_call=lambda args, kwargs: (args[0][:, :1], args[1]),
        ),
    )
    result, noise, _ = sampled(treated(case, "reference-sampler"), batch)
    assert (result - closed_form(noise)).abs().max() < 1e-5


def test_treatments_compose_in_any_order():
    case = diffusion(wrong_epsilon=True, raw_time=True, steps=15)
    names = ["reference-sampler", "time-as-in-training", "full-resolution-skip"]
    made = [resolve(Proposal(treatment=name), case) for name in names]
    scores = set()
    for order in permutations(made):
        arm = compose(case, order)
        scores.add(score(arm, train(arm, 0).model, 0).predictions)
    assert len(scores) == 1


def test_hooks_are_gone_after_sampling():
    case, batch = oracle(wrong="epsilon formula", sampling_scale=1.0)
    made = [resolve(item, case) for item in finding("X", "reference-sampler", "time-as-in-training").proposals]
    model = sampled(compose(case, made), batch)[2]
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    assert "forward" not in model.__dict__


def test_without_a_diffusion_part_sampler_treatments_do_not_fit():
    case = dx.Case(model=lambda: nn.Linear(1, 1), train=[1])
    for name in ("reference-sampler", "time-as-in-training", "full-resolution-skip", "prediction-type"):
        with pytest.raises(TreatmentUnfitError, match="diffusion part"):
            resolve(Proposal(treatment=name), case)
