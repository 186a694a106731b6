"""Training: deterministic, paired, without traces, and with the user's line in every failure."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from trial_cases import diffusion, linear_batches, regression

from traindx.core.randomness import Stream, seeded
from traindx.errors import CaseError
from traindx.trials.clock import Deadline, OutOfTime
from traindx.trials.scoring import score
from traindx.trials.training import digest, train


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    case = diffusion(steps=10)
    first, again, other = train(case, 3), train(case, 3), train(case, 4)
    assert first.weights == again.weights
    assert first.losses == again.losses
    assert first.weights != other.weights
    assert first.first_gradient == again.first_gradient != ""


def test_the_global_random_state_is_left_as_it_was():
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    case = diffusion(steps=3)
    score(case, train(case, 0).model, 0)
    drawn = torch.rand(2), np.random.rand(), random.random()
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    assert torch.equal(drawn[0], torch.rand(2))
    assert drawn[1:] == (np.random.rand(), random.random())


def test_training_does_not_depend_on_the_random_state_outside():
    torch.manual_seed(1)
    first = train(diffusion(steps=3), 0)
    torch.manual_seed(2)
    assert train(diffusion(steps=3), 0).weights == first.weights


def test_an_arm_that_draws_more_numbers_stays_paired():
    def loss(model, batch):
        return (model(batch["x"] + 0.1 * torch.randn(16, 6)) - batch["y"] + 0.1 * batch["draws"]).square().mean()

    def greedy_loss(model, batch):
        value = loss(model, batch)
        torch.rand(100)  # a treatment that draws more than the control
        return value

    def shuffled():
        for index in torch.randperm(4):
            batch = linear_batches()[index]
            yield {**batch, "draws": torch.randn(16, 1)}

    case = regression(train=shuffled, loss=loss, steps=9)
    assert train(case, 0).weights == train(case.replace(loss=greedy_loss), 0).weights


def test_a_shuffling_loader_with_its_own_generator_gives_every_arm_the_same_order():
    data = TensorDataset(torch.arange(40.0).view(40, 1))
    loader = DataLoader(data, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(0))

    def loss(model, batch):
        return (model(batch[0]) - 1).square().mean()

    case = regression(model=lambda: nn.Linear(1, 1), train=loader, loss=loss, steps=15)
    assert train(case, 0).losses == train(case, 0).losses


def test_a_loader_shorter_than_the_training_is_begun_again():
    trained = train(regression(train=linear_batches(2), steps=7), 0)
    assert trained.steps == 7


@pytest.mark.parametrize(
    ("batches", "says"),
    [
        (list, "ended before the first one"),
        ((item for item in linear_batches(2)), "ended after 2 batches and cannot be read again"),
    ],
    ids=["empty", "used up"],
)
def test_batches_that_run_out_are_named(batches, says):
    with pytest.raises(CaseError, match=says):
        train(regression(train=batches, steps=7), 0)


def test_an_error_in_user_code_carries_its_line():
    def loss(model, batch):
        return batch["no such key"].mean()

    with pytest.raises(CaseError, match="computing the loss of step 0 raised KeyError") as caught:
        train(regression(loss=loss), 0)
    assert f"test_trials_training.py:{loss.__code__.co_firstlineno + 1}" in caught.value.where


def test_a_loss_without_gradient_is_refused():
    with pytest.raises(CaseError, match="does not depend on the weights"):
        train(regression(loss=lambda model, batch: model(batch["x"]).detach().mean()), 0)


class Explodes(nn.Module):
    def forward(self, x):
        return torch.log(-1 - x.abs())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 1)
        self.log = Explodes()

    def forward(self, x):
        return self.log(self.first(x))


def test_a_loss_that_is_not_a_number_stops_training_and_names_the_module():
    case = regression(model=Net, loss=lambda model, batch: model(batch["x"]).mean())
    trained = train(case, 0)
    assert trained.diverged.step == 0
    assert trained.steps == 0
    assert "log (Explodes)" in trained.diverged.module
    assert "test_trials_training.py" in trained.diverged.module


def test_divergence_keeps_the_last_weights_that_gave_a_number():
    def explode(model, batch):
        model.count = getattr(model, "count", 0) + 1
        factor = float("nan") if model.count > 4 else 1.0
        return factor * (model(batch["x"]) - batch["y"]).square().mean()

    trained = train(regression(loss=explode), 0)
    assert trained.diverged.step == 4
    assert len(trained.losses) == 4
    assert all(torch.isfinite(p).all() for p in trained.model.parameters())


def test_a_deadline_ends_training_or_keeps_what_there_is():
    slow = regression(loss=lambda model, batch: (time.sleep(0.02), (model(batch["x"]) - batch["y"]).square().mean())[1])
    with pytest.raises(OutOfTime):
        train(slow, 0, deadline=Deadline.after(0.2))
    begun = time.monotonic()
    partial = train(slow, 0, deadline=Deadline.after(0.2), keep_partial=True)
    assert time.monotonic() - begun < 1.0
    assert 0 < partial.steps < 150


def test_calling_off_ends_training():
    deadline = Deadline()

    def stop(step, _):
        if step == 3:
            deadline.cancelled.set()

    with pytest.raises(OutOfTime):
        train(regression(), 0, on_step=stop, deadline=deadline)


def test_runtime_patches_are_in_force_in_training_and_scoring_and_gone_afterwards():
    log = []

    class Patch:
        def __enter__(self):
            log.append("in")

        def __exit__(self, *_):
            log.append("out")

    case = regression(contexts=(Patch,), steps=1)
    trained = train(case, 0)
    assert log == ["in", "out"]
    score(case, trained.model, 0)
    assert log == ["in", "out"] * 2
    with case.open():
        train(case, 0)
    assert log == ["in", "out"] * 3  # a case that is open is not patched twice


def test_scoring_leaves_modes_as_they_were_and_noise_is_that_of_the_seed():
    case = diffusion(steps=2)
    model = train(case, 0).model
    first = score(case, model, 0)
    assert model.training
    assert score(case, model, 0).predictions == first.predictions
    assert score(case, model, 1).predictions != first.predictions


def test_a_stream_goes_on_where_it_stopped():
    stream = Stream("data", 0)
    with stream.resumed():
        first = torch.rand(2)
    torch.rand(50)
    with stream.resumed():
        second = torch.rand(2)
    with seeded("data", 0):
        assert torch.equal(torch.cat([first, second]), torch.cat([torch.rand(2), torch.rand(2)]))


def test_a_digest_sees_values_shapes_and_types():
    x = torch.arange(4.0)
    assert digest([x]) == digest([x.clone()])
    others = [x.view(2, 2), x.double(), x + 1e-6, -x]
    assert len({digest([item]) for item in (x, *others)}) == 5
