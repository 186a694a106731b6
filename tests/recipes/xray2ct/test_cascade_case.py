"""The second stage of both cascades as a case, and the diffusion of a stage against closed forms."""

from __future__ import annotations

import time

import pytest
import torch

from traindx.recipes import registry
from traindx.recipes.kit.estimate import Score
from traindx.recipes.xray2ct.assessment import energies, figures, slice_psnr
from traindx.recipes.xray2ct.cascade.cascade import Plan
from traindx.recipes.xray2ct.cascade.case import case_of, changed, make_case, system_of, with_window
from traindx.recipes.xray2ct.cascade.denoising import diffusion_loss, draw
from traindx.recipes.xray2ct.cascade.ladder import coarsened
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
from traindx.recipes.xray2ct.module import SeededBatches
from traindx.recipes.xray2ct.system import System

METHODS = ("regression", "diffusion")


@pytest.fixture(scope="module", params=METHODS)
def cascade_case(request):
    return make_case(request.param, 16, source="embedded", train=8, val=2, steps=20)


def test_a_case_is_complete(cascade_case):
    for part in ("loss", "target", "metrics", "conditions", "optimizer", "normaliser", "projection", "deployment"):
        assert cascade_case.has(part), part
    assert cascade_case.has("diffusion") == (cascade_case.name == "xray2ct_cascade")
    batch = cascade_case.first_batches(1)[0]
    model = cascade_case.model()
    terms = cascade_case.loss_terms(model, batch)
    torch.stack(list(terms.values())).sum().backward()
    assert all(weight.grad is None for weight in model.stages[0].parameters())
    silent = [name for name, weight in model.stages[1].named_parameters() if weight.grad is None]
    assert silent == []
    prediction = cascade_case.prediction(model, batch)
    assert prediction.shape == cascade_case.target(batch).shape
    assert cascade_case.score(prediction, batch) > 10


def test_the_first_stage_is_trained_once_and_is_the_same_in_every_model(cascade_case):
    one, begun = cascade_case.model(), time.process_time()
    other = cascade_case.model()
    assert time.process_time() - begun < 2
    states = [model.stages[0].state_dict() for model in (one, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert one.stages[0] is not other.stages[0]


def test_the_case_renders_the_given_radiographs(cascade_case):
    batch = cascade_case.first_batches(1, "val")[0]
    for view in VIEWS:
        rendered = cascade_case.projection.render(batch["ct"], view)
        given = cascade_case.projection.observed(batch, view)
        assert float((rendered - given).abs().mean() / given.mean()) < 0.02


def test_the_recipes_offer_these_cases(cascade_case):
    recipe = registry()[cascade_case.name]
    assert recipe.case(size=16, source="embedded", train=8, val=2).name == cascade_case.name


def test_a_window_changes_target_and_stages_together(cascade_case):
    wide = with_window(cascade_case, HounsfieldWindow(-1000, 3000))
    assert system_of(wide).plan.window == system_of(wide).window
    back = wide.treatments["window"](wide, low=-1000, high=1000)
    assert system_of(back).window.high == 1000


def test_changed_parts_are_kept(cascade_case):
    faster = changed(cascade_case, learning_rate=1.0)
    assert system_of(faster).learning_rate == 1.0
    assert case_of(system_of(faster)).deployment.selects == "val_psnr"


def test_an_exact_denoiser_is_sampled_exactly_by_every_stage():
    """A stage that knows the truth: whatever noise it starts from, DDIM must end there."""
    case = make_case("diffusion", 16, source="embedded", train=8, val=2, steps=20)
    system, batch = system_of(case), case.first_batches(1, "val")[0]
    model = case.model()
    for stage in model.stages:
        truth = coarsened(batch["ct"], stage.size)

        def forward(x_t, time, alpha_bar, *_, truth=truth):
            a = alpha_bar.view(-1, 1, 1, 1, 1).sqrt()
            sigma = (1 - alpha_bar.view(-1, 1, 1, 1, 1)).sqrt()
            return a * (x_t - a * truth) / sigma - sigma * truth

        stage.forward = forward
    drawn = draw(model, system.plan.process, system.radiographs(batch), sampling_steps=4)
    torch.testing.assert_close(drawn, batch["ct"], rtol=0, atol=2e-3)


def test_physics_counts_by_the_signal_and_is_zero_at_the_truth():
    case = make_case("diffusion", 16, source="embedded", train=8, val=2, steps=20)
    system, batch = system_of(case), case.first_batches(1, "val")[0]
    stage, process = case.model().current, system.plan.process

    def physics(truth: torch.Tensor) -> float:
        def forward(x_t, time, alpha_bar, *_):
            a = alpha_bar.view(-1, 1, 1, 1, 1).sqrt()
            sigma = (1 - alpha_bar.view(-1, 1, 1, 1, 1)).sqrt()
            return a * (x_t - a * truth) / sigma - sigma * truth

        stage.forward = forward
        torch.manual_seed(0)
        earlier = coarsened(batch["ct"], 8)
        images = system.radiographs(batch)
        return float(diffusion_loss(stage, process, earlier, batch["ct"], images, physics_weight=1.0)["physics"])

    at, away = physics(batch["ct"]), physics(batch["ct"] * 0.7)
    assert at < 0.1 * away


def test_processes_of_a_distributed_training_share_the_data_out(system: System):
    whole = SeededBatches(system.data.train, 4, 0, 3)
    parts = [SeededBatches(system.data.train, 2, 0, 3, rank=rank, world=2) for rank in range(2)]
    for number in range(3):
        mine = [part._chosen(number) for part in parts]
        assert sorted(mine[0] + mine[1]) == sorted(whole._chosen(number))
        assert not set(mine[0]) & set(mine[1])


def test_figures_against_their_definitions(system: System):
    truth = system.data.val.patients.hu[:1].clamp(-1000, 1000)
    images = {view: system.data.val.radiographs[view][:1] for view in VIEWS}
    perfect = figures(truth, truth, images, system.data)
    assert perfect["psnr"] == perfect["slice psnr"] == 100.0
    assert all(
        perfect[f"mae {tissue}"] in (0.0, pytest.approx(float("nan"), nan_ok=True)) for tissue in ("air", "soft")
    )
    assert perfect["radiographs"] < 0.05  # what the window cuts off above 1000 HU
    assert perfect["energy 0.5-1"] == pytest.approx(1)
    blurred = torch.nn.functional.avg_pool3d(truth, 3, 1, 1)
    worse = figures(blurred, truth, images, system.data)
    assert worse["energy 0.5-1"] < 0.5 < worse["energy 0-0.125"] < 1.2
    assert worse["radiographs"] > perfect["radiographs"]
    flat = truth + 20.0 * (truth < 900)
    assert figures(flat, truth, images, system.data)["mae soft"] == pytest.approx(20.0, abs=0.1)


def test_slices_of_little_error_lift_the_mean_over_slices():
    """One slice in four wrong by 200 HU: 26 dB over the volume by definition, far more as a mean over slices."""
    truth = torch.zeros(1, 1, 4, 8, 8)
    wrong = truth.clone()
    wrong[0, 0, 0] = 200.0
    wrong[0, 0, 1:] = 2.0
    assert slice_psnr(wrong, truth) == pytest.approx((20 + 3 * 60) / 4, abs=1e-3)


def test_energy_by_band_is_all_of_the_energy():
    volume = torch.randn(1, 1, 8, 8, 8)
    assert sum(energies(volume)) == pytest.approx(float((volume - volume.mean()).square().sum()), rel=1e-5)


def test_intervals_cover_the_mean_and_pair_what_belongs_together():
    draw_ = torch.Generator().manual_seed(0)
    patients = torch.randn(40, generator=draw_) * 3 + 20
    one = Score(tuple(patients.tolist()))
    other = Score(tuple((patients - 0.2).tolist()))
    low, high = one.estimate().low, one.estimate().high
    assert low < one.mean < high
    assert high - low == pytest.approx(2 * 1.96 * float(patients.std()) / 40**0.5, rel=0.15)
    low, high = one.estimate(minus=other).low, one.estimate(minus=other).high
    assert low == pytest.approx(0.2, abs=1e-4)
    assert high == pytest.approx(0.2, abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_from_64_to_128_voxels_one_step_runs(method):
    """The preset's shapes on a tiny width, with checkpointing."""
    geometry = ConeGeometry((128, 128, 128), (3.0, 3.0, 3.0), (128, 128))
    tiny = {"patch": 4, "widths": [4, 4, 4], "depth": 1, "heads": 1, "encoder_channels": 4, "lifted": 4, "refine": 2}
    plan = Plan(method, (64, 128), geometry, networks=({**tiny, "condition": 8},) * 2)
    stage = plan.stage(1)
    stage.network.checkpointing = True
    images = {view: torch.randn(1, 1, 128, 128) for view in VIEWS}
    earlier = torch.zeros(1, 1, 64, 64, 64)
    if method == "regression":
        volume = stage(earlier, images)
        assert volume.shape == (1, 1, 128, 128, 128)
        loss = volume.square().mean()
    else:
        loss = diffusion_loss(stage, plan.process, earlier, torch.zeros(1, 1, 128, 128, 128), images)["diffusion"]
    loss.backward()
    assert all(torch.isfinite(weight.grad).all() for weight in stage.parameters())
