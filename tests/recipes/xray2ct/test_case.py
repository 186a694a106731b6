"""The recipe as a case: every part is there, and says what it should."""

from __future__ import annotations

import time

import pytest
import torch

from traindx.recipes.kit.schedule import WarmupCosine
from traindx.recipes.xray2ct.case import changed, make_case, system_of, with_window
from traindx.recipes.xray2ct.data import DataOptions, prepare
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
from traindx.recipes.xray2ct.metrics import psnr_hu, ssim_hu
from traindx.recipes.xray2ct.objective import physics_loss


def test_a_case_is_complete(case):
    for part in ("loss", "target", "metrics", "conditions", "optimizer", "normaliser", "diffusion", "projection"):
        assert case.has(part), part
    assert {"window", "projection"} <= set(case.treatments)


def test_batches_can_be_read_again_and_follow_the_global_seed(case):
    def first_ids(seed: int) -> list[str]:
        torch.manual_seed(seed)
        return next(iter(case.batches("train")))["id"]

    assert first_ids(0) == first_ids(0)
    assert first_ids(0) != first_ids(1)
    assert {"ct", "hu", "frontal", "lateral", "id"} == set(case.first_batches(1)[0])


def test_loss_and_prediction(case):
    batch = case.first_batches(1, "val")[0]
    torch.manual_seed(0)
    model = case.model()
    terms = case.loss_terms(model, batch)
    assert set(terms) == {"diffusion"}
    prediction = case.prediction(model, batch)
    assert prediction.shape == case.target(batch).shape
    assert not prediction.requires_grad
    # untrained, it starts near the mean volume
    assert case.score(prediction, batch) > 12


def test_network_values_and_raw_units_give_one_figure(case):
    batch = case.first_batches(1, "val")[0]
    prediction = case.target(batch) + 0.1
    _, metric = case.metric("psnr")
    assert case.score(prediction, batch) == pytest.approx(metric(prediction, case.target(batch)), abs=1e-3)


def test_another_window_does_not_move_the_yardstick(case):
    """One error in HU is one figure, whatever window the network works in."""
    batch_of = lambda made: made.first_batches(1, "val")[0]  # noqa: E731
    wide = with_window(case, HounsfieldWindow(-1000, 3000))
    hu = batch_of(case)["hu"].clamp(-1000, 900) + 50
    scores = [made.score(made.normaliser.encode(hu), batch_of(made)) for made in (case, wide)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)
    narrow = with_window(case, HounsfieldWindow(-200, 200))
    assert narrow.score(narrow.target(batch_of(narrow)), batch_of(narrow)) < 15  # what it cannot express counts
    back = narrow.treatments["window"](narrow, low=-1000, high=1000)
    assert back.score(back.target(batch_of(back)), batch_of(back)) > 40


def test_rendered_targets_are_the_given_radiographs(case, system):
    """Up to what the window cuts off above 1000 HU."""
    batch = case.first_batches(1, "val")[0]
    clipped = {**batch, "ct": batch["ct"]}
    assert float(physics_loss(system, clipped["ct"], clipped)) < 1e-4
    assert float(physics_loss(system, clipped["ct"].flip(4), clipped)) > 1e-2


def test_physics_loss_is_a_term_when_it_has_a_weight(case):
    with_physics = changed(case, physics_weight=0.1)
    torch.manual_seed(0)
    terms = with_physics.loss_terms(case.model(), case.first_batches(1)[0])
    assert set(terms) == {"diffusion", "physics"}
    assert all(term.requires_grad for term in terms.values())


def test_a_second_case_comes_from_the_cache_and_is_the_same(tmp_path):
    options = DataOptions(source="embedded", size=8, train=2, val=2, cache=str(tmp_path))
    first = prepare(options)
    (stored,) = tmp_path.iterdir()
    second = prepare(options)
    assert torch.equal(first.train.patients.hu, second.train.patients.hu)
    assert torch.equal(first.val.radiographs["lateral"], second.val.radiographs["lateral"])
    assert first.geometry == second.geometry
    stored.write_bytes(stored.read_bytes()[:100])  # a broken cache is as good as none
    third = prepare(options)
    assert torch.equal(first.train.patients.hu, third.train.patients.hu)
    prepare(DataOptions(source="embedded", size=8, train=2, val=2, seed=1, cache=str(tmp_path)))
    assert len(list(tmp_path.iterdir())) == 2


def test_building_the_default_case_is_quick():
    make_case(source="embedded")  # fills the cache and imports what is heavy
    begun = time.process_time()
    case = make_case(source="embedded")
    assert time.process_time() - begun < 2
    assert case.first_batches(1)[0]["ct"].shape == (4, 1, 32, 32, 32)
    assert 0.3e6 < sum(weight.numel() for weight in case.model().parameters()) < 1.5e6


def test_learning_rate_warms_up_and_falls_from_whatever_it_is_set_to():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    WarmupCosine(30).attach(optimizer)
    optimizer.param_groups[0]["lr"] *= 10  # as a treatment does
    rates = []
    for _ in range(30):
        weight.grad = torch.zeros(1)
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(5.0)
    assert max(rates) == pytest.approx(10.0)
    assert rates[-1] < 0.5
    assert rates == sorted(rates[:2]) + sorted(rates[2:], reverse=True)


def test_figures_of_merit_against_their_definitions():
    truth = torch.rand(2, 1, 12, 12, 12) * 2000 - 1000
    noise = torch.randn_like(truth) * 40
    expected = 10 * torch.log10(2000**2 / ((truth + noise).clamp(-1000, 1000) - truth).square().mean((1, 2, 3, 4)))
    assert float(psnr_hu(truth + noise, truth)) == pytest.approx(float(expected.mean()), abs=1e-4)
    assert float(psnr_hu(truth, truth)) == 100.0
    metal = truth.clone()
    metal[0, 0, 0, 0, 0] = 20000.0  # outside the window of evaluation it is worth no more than at its edge
    assert float(psnr_hu(metal, truth)) > 25
    assert float(ssim_hu(truth, truth)) == pytest.approx(1.0)
    assert float(ssim_hu(torch.rand_like(truth) * 2000 - 1000, truth)) < 0.1


@pytest.mark.slow
def test_it_learns_more_than_the_mean_volume():
    """80 steps of the default case on one thread."""
    from traindx.recipes.xray2ct.assessment import assess, trivial
    from traindx.trials.scoring import score
    from traindx.trials.training import train

    case = make_case(source="embedded", steps=80)
    reached = score(case, train(case, seed=0).model, seed=0).values["psnr"]
    data = system_of(case).data
    assert reached > assess(data, trivial(data)["mean volume"])[0]["psnr"].mean + 0.5
