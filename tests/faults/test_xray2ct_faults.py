"""The faults of the X-ray-to-CT document: each breaks what it says and nothing else, and the placebos break nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from traindx import rules
from traindx.checks.base import CheckContext
from traindx.checks.data.window import window
from traindx.checks.network.conditions import input_effects
from traindx.checks.projection.phantoms import projection
from traindx.errors import InputError
from traindx.evidence import Evidence
from traindx.faults import registry
from traindx.faults.base import catalogued
from traindx.faults.xray2ct import FAULTS as ALL
from traindx.faults.xray2ct.lifting import DepthLifting
from traindx.recipes.kit.diffusion import posterior_mean
from traindx.recipes.xray2ct.case import changed, make_case, system_of
from traindx.recipes.xray2ct.radiograph import MU_WATER_PER_MM, hu_from_mu
from traindx.trials.training import train

FAULTS = [fault for fault in ALL if fault.recipe == "xray2ct"]
NAMES = [fault.name for fault in FAULTS]
POSTMORTEM = {
    "token-bottleneck",
    "ddim-epsilon",
    "raw-time",
    "x0-clamp",
    "schedule-division",
    "learning-rate-1e-4",
    "window-full",
    "window-soft-tissue",
    "drr-normalised",
    "drr-one-angle",
    "drr-attenuated-sum",
    "depth-lifting-one-channel",
    "seventeen-channels",
    "views-averaged",
    "tokens-without-position",
    "postmortem",
}


@pytest.fixture(scope="module")
def healthy():
    return make_case(size=16, source="embedded", train=8, val=2, cache="")


def broken(healthy, name: str):
    return registry()[name].apply(healthy)


def test_the_whole_document_is_catalogued():
    assert {fault.name for fault in registry().values() if fault.recipe == "xray2ct"} == POSTMORTEM


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_says_what_is_known_of_it(name):
    fault = registry()[name]
    assert fault.title
    assert fault.claim
    assert fault.truth
    assert fault.expected_rule in ("", *rules.catalogue())
    assert (fault.expected_rule == "") == (fault.documented_diagnosis == "placebo")


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="'raw-time' is catalogued twice"):
        catalogued([registry()["raw-time"], registry()["raw-time"]])


@pytest.mark.parametrize("name", NAMES)
def test_a_faulty_case_still_runs_and_the_healthy_one_is_left_alone(healthy, name):
    before = {part: getattr(system_of(healthy), part) for part in ("network", "sampler", "render", "process")}
    case = broken(healthy, name)
    batch = case.first_batches(1, "val")[0]
    torch.manual_seed(0)
    model = case.model()
    terms = case.loss_terms(model, batch)
    torch.stack(list(terms.values())).sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)
    prediction = case.prediction(model, batch)
    assert prediction.shape == case.target(batch).shape
    assert torch.isfinite(prediction).all()
    assert before == {part: getattr(system_of(healthy), part) for part in before}


def test_true_noise_is_recovered_by_the_healthy_loop_only(healthy):
    """With the exact denoiser of N(m, s^2), samples must have mean m; the document's formula gives others."""
    m, s = 0.8, 0.2

    class Exact(torch.nn.Module):
        def forward(self, x_t, time, alpha_bar, *_):
            a = alpha_bar.view(-1, 1, 1, 1, 1).sqrt()
            sigma = (1 - alpha_bar.view(-1, 1, 1, 1, 1)).sqrt()
            x0 = posterior_mean(torch.tensor(m), s, x_t, a, sigma)
            return a * (x_t - a * x0) / sigma - sigma * x0

    def away(case) -> float:
        torch.manual_seed(0)
        return abs(float(case.diffusion.sample(Exact(), case.first_batches(1, "val")[0]).mean()) - m)

    assert away(healthy) < 0.01
    assert away(broken(healthy, "ddim-epsilon")) > 0.05
    assert away(broken(healthy, "raw-time")) < 0.01  # this denoiser does not look at the time


@pytest.mark.parametrize("names", [("raw-time",), ("raw-time", "ddim-epsilon"), ("ddim-epsilon", "raw-time")])
def test_raw_time_reaches_the_network_whatever_loop_samples(healthy, names):
    recorded: list[float] = []
    case = healthy
    for name in names:
        case = broken(case, name)
    model = case.model()
    model.register_forward_pre_hook(lambda _, args: recorded.append(float(args[1].max())))
    batch = case.first_batches(1, "val")[0]
    case.loss_terms(model, batch)
    assert max(recorded) <= 1
    recorded.clear()
    case.prediction(model, batch)
    assert recorded[0] == 999


def test_the_bottlenecked_head_passes_no_noise(healthy):
    """Its output is an interpolation of one number a token, so a projection on those loses nothing of it."""
    case = broken(healthy, "token-bottleneck")
    model = case.model()
    batch = case.first_batches(1, "val")[0]
    x = torch.randn(2, 1, 16, 16, 16)
    with torch.no_grad():
        out = case.diffusion.denoise(model, x, torch.tensor([300, 600]), batch)
    up = torch.nn.functional.interpolate(torch.eye(4)[:, None], size=16, mode="linear", align_corners=False)[:, 0].T
    project = up @ torch.linalg.pinv(up)
    kept = torch.einsum("ai,bj,ck,nzijk->nzabc", project, project, project, out)
    torch.testing.assert_close(kept, out, rtol=0, atol=1e-4)
    noise = torch.einsum("ai,bj,ck,nzijk->nzabc", project, project, project, x)
    assert float(noise.var() / x.var()) < 0.03  # 1 / 64 of white noise is all that fits through


def test_depth_lifting_carries_one_channel(healthy):
    case = broken(healthy, "depth-lifting-one-channel")
    batch = case.first_batches(1, "val")[0]
    lifted, _ = case.model().encoder(batch["frontal"], batch["lateral"])
    assert lifted.shape[1] == 1
    # and it is kept when the head is broken as well, in either order
    for order in (("depth-lifting-one-channel", "token-bottleneck"), ("token-bottleneck", "depth-lifting-one-channel")):
        both = healthy
        for name in order:
            both = broken(both, name)
        assert isinstance(both.model().xray_encoder, DepthLifting)


def test_seventeen_channels_are_broadcast_against_one(healthy):
    case = broken(healthy, "seventeen-channels")
    batch = case.first_batches(1, "val")[0]
    x = torch.randn_like(batch["ct"])
    assert case.diffusion.denoise(case.model(), x, torch.tensor([5, 500]), batch).shape[1] == 17


def test_networks_are_not_exchanged_twice(healthy):
    with pytest.raises(InputError, match="exchanged"):
        broken(broken(healthy, "token-bottleneck"), "seventeen-channels")
    with pytest.raises(InputError, match="exchanged"):
        broken(broken(healthy, "seventeen-channels"), "token-bottleneck")


def test_the_clamp_is_innocent_bit_by_bit(healthy):
    short = partial(train, steps=3)
    assert short(broken(healthy, "x0-clamp"), 0).weights == short(healthy, 0).weights
    with_physics = changed(healthy, physics_weight=0.1)
    assert short(broken(with_physics, "x0-clamp"), 0).weights == short(with_physics, 0).weights
    # the same loss with a bound that is reached would show
    assert short(broken(healthy, "learning-rate-1e-4"), 0).weights != short(healthy, 0).weights


def test_the_division_cancels(healthy):
    schedule = system_of(healthy).process.alphas_cumprod
    divided = system_of(broken(healthy, "schedule-division")).process.alphas_cumprod
    torch.testing.assert_close(divided, schedule, rtol=0, atol=1e-5)


def test_windows_encode_as_the_document_says(healthy):
    hu = torch.tensor([-1000.0, -200.0, 0.0, 100.0, 200.0, 3000.0])
    full, soft = (broken(healthy, name).normaliser for name in ("window-full", "window-soft-tissue"))
    torch.testing.assert_close(full.encode(hu), (hu + 1000) / 2000 - 1)
    torch.testing.assert_close(full.decode(full.encode(hu)), hu)
    torch.testing.assert_close(soft.encode(hu), torch.tensor([-1.0, -1.0, 0.0, 0.5, 1.0, 1.0]))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("drr-normalised", 0.0, 1.0), ("drr-attenuated-sum", 10.0, 20.0)],
)
def test_the_documents_renderers_are_no_line_integrals(healthy, name, low, high):
    case = broken(healthy, name)
    image = case.projection.render(case.first_batches(1, "val")[0]["ct"], "lateral")
    assert low - 1e-3 <= float(image.min()) <= float(image.max()) <= high
    reference = case.treatments["projection"](case)
    slab = hu_from_mu(torch.full((1, 1, 16, 16, 16), MU_WATER_PER_MM)) / 1000
    centre = float(reference.projection.render(slab, "lateral")[0, 0, 8, 8])
    assert centre == pytest.approx(MU_WATER_PER_MM * 360, rel=0.01)
    assert system_of(reference).physics_weight == system_of(case).physics_weight  # the trial compares renderers only


@pytest.mark.parametrize("name", ["", *(fault.name for fault in FAULTS if fault.expected_rule[:1] in ("P", "D"))])
def test_physics_and_window_faults_are_found_by_their_rules(healthy, name):
    case = broken(healthy, name) if name else changed(healthy, physics_weight=0.1)
    ctx = CheckContext(case, Evidence())
    projection.function(ctx)
    window.function(ctx)
    found = [
        finding
        for rule in rules.catalogue().values()
        if rule.family in "PD" and rule.applies(ctx.evidence)
        for finding in rule.check(ctx.evidence)
    ]
    expected = registry()[name].expected_rule if name else ""
    assert {finding.code for finding in found} == ({expected} if expected else set())
    for finding in found:
        assert finding.standing == "demonstrated"
        assert "faults/xray2ct" in str(finding.location)


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS if fault.documented_diagnosis == "placebo"])
def test_placebos_move_no_physics_and_no_window_rule(healthy, name):
    ctx = CheckContext(broken(healthy, name), Evidence())
    window.function(ctx)
    assert not [f for rule in rules.catalogue().values() if rule.family == "D" for f in rule.check(ctx.evidence)]


def test_faults_survive_a_change_of_device_and_name(healthy):
    case = broken(healthy.replace(name="mine"), "raw-time")
    assert case.name == "mine"
    assert replace(system_of(case)) == system_of(case)


def test_tokens_without_position_are_found_and_the_healthy_encoder_is_not():
    """At 32 voxels: on 16 pixels the borders of the convolutions give a position away."""
    fine = make_case(size=32, source="embedded", train=4, val=2, cache="")
    for case, views in ((fine, set()), (broken(fine, "tokens-without-position"), {"frontal", "lateral"})):
        ctx = CheckContext(case, Evidence())
        input_effects.function(ctx)
        found = rules.catalogue()["M205"].check(ctx.evidence)
        assert {view for view in ("frontal", "lateral") for finding in found if view in finding.message} == views
