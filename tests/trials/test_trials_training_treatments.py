"""Treatments of the training: the analytic skip, clamps, loss terms, learning rate and schedule."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from trial_cases import T, alphas_cumprod, diffusion, regression, treated

import traindx as dx
from traindx.core.parameterisation import convert, encode, from_estimate, from_x0, posterior_mean, to_epsilon, to_x0
from traindx.finding import Proposal
from traindx.trials.proposals import resolve
from traindx.trials.scoring import score
from traindx.trials.training import train
from traindx.trials.treatment import TreatmentUnfitError, label, touched
from traindx.trials.treatments.reference_schedule.case import DERIVED, reference_of, zero_terminal_snr

TYPES = ["v", "epsilon", "sample"]
# ------------------------------------------------------------------------------------------------ parameterisation


@settings(max_examples=50, deadline=None)
@given(st.floats(0.02, 0.998), st.integers(0, 1000))
def test_all_parameterisations_say_the_same(alpha_bar, seed):
    generator = torch.Generator().manual_seed(seed)
    x0, noise = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    a, s = torch.tensor(alpha_bar).double().sqrt(), (1 - torch.tensor(alpha_bar).double()).sqrt()
    x = a * x0 + s * noise
    outputs = {"v": a * noise - s * x0, "epsilon": noise, "sample": x0}
    for kind, output in outputs.items():
        assert torch.allclose(to_x0(output, x, a, s, kind), x0)
        assert torch.allclose(to_epsilon(output, x, a, s, kind), noise)
        assert torch.allclose(from_x0(x0, x, a, s, kind), output)
        assert torch.allclose(encode(x0, noise, a, s, kind), output)
        for other in TYPES:
            assert torch.allclose(convert(output, x, a, s, kind, other), outputs[other])


# ------------------------------------------------------------------------------------------------ the analytic skip


def test_the_skip_is_the_posterior_mean_by_linear_algebra():
    head, error, x, a = 0.4, 0.3, -1.1, 0.6
    sigma = (1 - a**2) ** 0.5
    # joint Gaussian of (x0, x_t): condition on x_t the textbook way
    covariance = np.array([[error**2, a * error**2], [a * error**2, a**2 * error**2 + sigma**2]])
    expected = head + covariance[0, 1] / covariance[1, 1] * (x - a * head)
    got = posterior_mean(torch.tensor(head), error, *(torch.tensor(value) for value in (x, a, sigma)))
    assert float(got) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 0.99), st.floats(0.01, 0.5), st.sampled_from(TYPES))
def test_every_output_type_of_the_skip_implies_that_posterior(alpha_bar, error, kind):
    generator = torch.Generator().manual_seed(0)
    head, x = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    a, s = torch.tensor(alpha_bar).double().sqrt(), (1 - torch.tensor(alpha_bar).double()).sqrt()
    output = from_estimate(head, error, x, a, s, kind)
    assert torch.allclose(to_x0(output, x, a, s, kind), posterior_mean(head, error, x, a, s))


def test_far_from_the_end_the_skip_is_the_plain_x0_head():
    head, x, a = torch.tensor(0.4), torch.tensor(-1.1), torch.tensor(0.3)
    s = (1 - a.square()).sqrt()
    assert float(from_estimate(head, 1e-3, x, a, s, "v")) == pytest.approx(float((a * x - head) / s), abs=1e-4)
    assert float(from_estimate(head, 1e-3, x, a, s, "epsilon")) == pytest.approx(float((x - a * head) / s), abs=1e-4)


@pytest.mark.parametrize("kind", TYPES)
def test_the_skip_stays_bounded_where_the_noise_vanishes(kind):
    head, x = torch.tensor(0.4), torch.tensor(-1.1)
    for sigma in (1e-2, 1e-4, 1e-8, 0.0):
        s = torch.tensor(sigma)
        assert abs(float(from_estimate(head, 0.05, x, (1 - s.square()).sqrt(), s, kind))) < 20


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
@pytest.mark.parametrize("scaled", [True, False], ids=["t/T", "raw"])
def test_the_skip_cures_a_bottleneck(prediction, scaled):
    case = diffusion(prediction=prediction, scaled=scaled, steps=120)
    before = score(case, train(case, 0).model, 0).values["psnr"]
    cured = treated(case, "full-resolution-skip")
    trained = train(cured, 0)
    after = score(cured, trained.model, 0).values["psnr"]
    assert before < 13.3 < after - 8  # 13.3 dB: the best trivial baseline (nearest neighbour)
    # the closed-form floor of a 4x4 map for v is 15/16 of E[alpha bar]; no learning rate comes below it
    if prediction == "v":
        floor = 15 / 16 * float(alphas_cumprod().mean())
        assert np.mean(train(case, 0).losses[-40:]) > floor
        assert np.mean(trained.losses[-40:]) < 0.75 * floor


def test_the_skip_reads_time_in_a_loop_that_passes_it_raw():
    case = diffusion(raw_time=True, steps=150)
    cured = treated(case, "full-resolution-skip")
    model = train(cured, 0).model
    assert score(cured, model, 0).values["psnr"] > 15
    both = treated(cured, "time-as-in-training")
    assert score(both, model, 0).values["psnr"] > score(cured, model, 0).values["psnr"]


def test_the_skip_keeps_names_of_weights_and_does_not_touch_the_random_state():
    case = diffusion(steps=1)
    torch.manual_seed(3)
    cured = treated(case, "full-resolution-skip")
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))
    assert list(cured.model().state_dict()) == list(case.model().state_dict())


def test_the_skip_needs_a_network_that_denoise_calls():
    case = diffusion()
    with pytest.raises(TreatmentUnfitError, match="does not call"):
        treated(case.replace(diffusion__denoise=lambda model, x, t, batch: x), "full-resolution-skip")


# ------------------------------------------------------------------------------------------------------------ clamps


def clamped_loss(model, batch):
    prediction = torch.clamp(model(batch["x"]), -0.5, 0.5)
    return (prediction - batch["y"]).square().mean()


CLAMP_LINE = clamped_loss.__code__.co_firstlineno + 1


def hardtanh_loss(model, batch):
    prediction = nn.Hardtanh(-0.5, 0.5)(model(batch["x"]))
    return (prediction - batch["y"]).square().mean()


def in_place_loss(model, batch):
    prediction = model(batch["x"])
    prediction.clamp_(min=-0.5, max=0.5)
    return (prediction - batch["y"]).square().mean()


def keyword_loss(model, batch):
    prediction = torch.clip(input=model(batch["x"]), max=0.5, min=-0.5)
    return (prediction - batch["y"]).square().mean()


def test_soft_works_in_place_too():
    case = regression(loss=in_place_loss)
    line = in_place_loss.__code__.co_firstlineno + 2
    cured = treated(case, "unclamp", file=__file__, line=line, mode="soft")
    model = nn.Linear(6, 1)
    batch = {"x": 100 * torch.ones(2, 6), "y": torch.zeros(2, 1)}
    with cured.open():
        soft = cured.loss(model, batch)
    assert float(soft.detach()) == pytest.approx(0.25)
    assert torch.autograd.grad(soft, model.weight)[0].abs().max() > 1


@pytest.mark.parametrize(
    ("loss", "offset"), [(clamped_loss, 1), (hardtanh_loss, 1), (in_place_loss, 2), (keyword_loss, 1)]
)
def test_unclamp_lets_values_and_gradients_through(loss, offset):
    case = regression(loss=loss, steps=40)
    line = loss.__code__.co_firstlineno + offset
    free = regression(loss=lambda model, batch: (model(batch["x"]) - batch["y"]).square().mean(), steps=40)
    cured = treated(case, "unclamp", file=__file__, line=line)
    assert train(case, 0).weights != train(free, 0).weights
    assert train(cured, 0).weights == train(free, 0).weights


def test_soft_keeps_the_values_and_frees_the_gradient():
    cured = treated(regression(loss=clamped_loss), "unclamp", file=__file__, line=CLAMP_LINE, mode="soft")
    model = nn.Linear(6, 1)
    batch = {"x": 100 * torch.ones(2, 6), "y": torch.zeros(2, 1)}
    hard = clamped_loss(model, batch)
    with cured.open():
        soft = cured.loss(model, batch)
    assert float(soft.detach()) == pytest.approx(float(hard.detach()))
    assert torch.autograd.grad(hard, model.weight)[0].abs().max() == 0
    assert torch.autograd.grad(soft, model.weight)[0].abs().max() > 1


def test_unclamp_touches_no_other_line_and_says_how_often_it_acted():
    case = regression(loss=clamped_loss, steps=5)
    made = resolve(Proposal(treatment="unclamp", parameters={"file": __file__, "line": CLAMP_LINE + 50}), case)
    assert train(made.apply(case), 0).weights == train(case, 0).weights
    assert made.tally.hits == 0
    made = resolve(Proposal(treatment="unclamp", parameters={"file": __file__, "line": CLAMP_LINE}), case)
    train(made.apply(case), 0)
    assert made.tally.hits == 5


def test_unclamp_is_refused_without_a_place_or_with_an_unknown_mode():
    for parameters in ({}, {"file": "a.py"}, {"file": "a.py", "line": 3, "mode": "loud"}):
        with pytest.raises(TreatmentUnfitError):
            treated(regression(), "unclamp", **parameters)


# ------------------------------------------------------------------------------------------- terms and learning rate


def gradient(case, seed=0):
    torch.manual_seed(seed)
    model = case.model()
    sum(case.loss_terms(model, case.first_batches(1)[0]).values()).backward()
    return model.weight.grad


def test_terms_are_dropped_flipped_and_reweighted():
    case = regression()
    fit = gradient(case.replace(loss=lambda model, batch: {"fit": case.loss(model, batch)["fit"]}))
    shrink = gradient(case.replace(loss=lambda model, batch: {"shrink": case.loss(model, batch)["shrink"]}))
    assert torch.allclose(gradient(treated(case, "drop-term", term="shrink")), fit)
    assert torch.allclose(gradient(treated(case, "flip-term", term="shrink")), fit - shrink)
    assert torch.allclose(gradient(treated(case, "reweight-term", term="fit", factor=3.0)), 3 * fit + shrink)


def test_a_dropped_term_is_left_out_even_where_it_is_not_a_number():
    case = regression()
    broken = case.replace(loss=lambda model, batch: {**case.loss(model, batch), "bad": torch.tensor(float("nan"))})
    assert train(treated(broken, "drop-term", term="bad"), 0).diverged is None


def test_terms_that_do_not_exist_are_named():
    from traindx.errors import TraindxError

    with pytest.raises(TraindxError, match="no term 'ssim'"):
        train(treated(regression(), "drop-term", term="ssim"), 0)
    with pytest.raises(TreatmentUnfitError, match="factor"):
        treated(regression(), "reweight-term", term="fit")


def test_learning_rate_scales_every_group():
    def groups(weights):
        first, second = list(weights)
        return torch.optim.SGD([{"params": [first], "lr": 0.1}, {"params": [second], "lr": 0.01}], lr=1.0)

    case = treated(regression(optimizer=groups), "learning-rate", factor=5.0)
    rates = [group["lr"] for group in case.optimizer(nn.Linear(6, 1).parameters()).param_groups]
    assert rates == pytest.approx([0.5, 0.05])
    default = treated(regression(optimizer=None), "learning-rate", factor=0.5)
    assert default.optimizer(nn.Linear(1, 1).parameters()).param_groups[0]["lr"] == pytest.approx(5e-4)
    for factor in (0.0, -1.0):
        with pytest.raises(TreatmentUnfitError):
            treated(regression(), "learning-rate", factor=factor)


# ---------------------------------------------------------------------------------------------------------- schedule


def test_zero_terminal_snr_is_that_of_diffusers():
    plain = DDIMScheduler(num_train_timesteps=50).alphas_cumprod
    theirs = DDIMScheduler(num_train_timesteps=50, rescale_betas_zero_snr=True).alphas_cumprod
    assert torch.allclose(zero_terminal_snr(plain), theirs, atol=1e-6)
    assert float(zero_terminal_snr(plain)[-1]) == 0.0


def test_noise_prediction_keeps_its_terminal_snr():
    betas = torch.linspace(1e-4, 0.02, 50)
    wrong = torch.cumprod(1 - betas, 0) * 0.9
    assert torch.allclose(reference_of(wrong, betas, "epsilon"), torch.cumprod(1 - betas, 0))
    assert float(reference_of(wrong, betas, "v")[-1]) == 0.0


def test_every_table_in_use_is_rewritten_and_put_back():
    betas = torch.linspace(1e-3, 0.05, T)
    bar = torch.cumprod(1 - betas, 0)
    root, rest = bar.sqrt(), (1 - bar).sqrt()

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Conv2d(1, 1, 1)
            self.register_buffer("snr", bar / (1 - bar))

        def forward(self, x, time, condition):
            return self.inner(x)

    def loss(model, batch):
        x0 = batch["image"]
        seen.append((float(root[-1]), float(rest[-1]), float(model.snr[-1]), float(bar[-1])))
        return F.mse_loss(model(root[-1] * x0 + rest[-1], None, None), x0)

    seen = []
    base = diffusion()
    case = base.replace(
        model=Network,
        loss=loss,
        diffusion__alphas_cumprod=bar,
        diffusion__betas=betas,
        steps=1,
    )
    originals = [tensor.clone() for tensor in (bar, root, rest)]
    train(treated(case, "reference-schedule"), 0)
    assert seen[-1] == pytest.approx((0.0, 1.0, 0.0, 0.0), abs=1e-6)
    assert all(torch.equal(a, b) for a, b in zip((bar, root, rest), originals, strict=True))
    train(case, 0)
    assert seen[-1][0] > 0.1


def test_a_schedule_that_is_the_reference_already_is_not_tried():
    bar = zero_terminal_snr(alphas_cumprod())
    with pytest.raises(TreatmentUnfitError, match="reference already"):
        treated(diffusion(diffusion=diffusion().replace(diffusion__alphas_cumprod=bar).diffusion), "reference-schedule")


def test_known_tables_are_told_apart():
    bar = alphas_cumprod(zero_terminal=False).double()
    tables = {name: function(bar) for name, function in DERIVED.items()}
    for name, table in tables.items():
        same = [other for other, value in tables.items() if torch.allclose(value, table, rtol=1e-4, atol=1e-7)]
        assert same == [name]


# ---------------------------------------------------------------------------------------- treatments and their names


def test_what_an_author_offers_is_read_off_the_case_it_returns():
    def rewindow(case, low):
        """Another window."""
        return case.replace(train=[*case.train], val=[*case.val])

    def resample(case):
        return case.replace(predict=lambda model, batch: model(batch["x"]) * 2)

    case = regression(treatments={"window": rewindow, "resample": resample})
    window = resolve(Proposal(treatment="window", parameters={"low": 3}), case)
    assert window.touches == {"data", "evaluation"}
    assert window.retrains
    assert window.title == "Another window"
    resampled = resolve(Proposal(treatment="resample"), case)
    assert resampled.touches == {"sampling"}
    assert not resampled.retrains
    assert resolve(Proposal(treatment="projection"), case) is None
    assert touched(case, case.replace(name="other")) == frozenset()


def test_labels_tell_parameters_only_where_they_are_needed():
    one = Proposal(treatment="drop-term", parameters={"term": "a"})
    other = Proposal(treatment="drop-term", parameters={"term": "b"})
    assert label(one, [one]) == "drop-term"
    assert label(one, [one, one]) == "drop-term"
    assert label(one, [one, other]) == "drop-term(term=a)"


def test_every_generic_treatment_is_documented():
    from traindx.trials.treatments.registry import EVERY

    for name, one in EVERY.items():
        if one.case:
            assert inspect.getdoc(one.load("case")), name


def test_cases_without_a_prediction_path_refuse_clipping():
    case = dx.Case(model=lambda: nn.Linear(1, 1), train=[1], parts=(dx.DataRange(0.0, 1.0),))
    with pytest.raises(TreatmentUnfitError, match="prediction path"):
        treated(case, "clip-to-data")
