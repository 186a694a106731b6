"""S505: time in one form in training and in another in sampling; time alone never touches S501 or S502."""

from __future__ import annotations

import pytest
import torch

from patients.samplers import cosine, ddim, diffusion_case, expand, linear, trailing
from patients.sitting import findings, line_at, run_check
from traindx.checks.diffusion.sampler import sampler
from traindx.checks.diffusion.time_input import time_input
from traindx.evidence.sampling import TimeArgument
from traindx.finding import Standing

CODES = ("S501", "S502", "S503", "S504", "S505")
FORMS = {
    "t": lambda t: t,
    "t / T": lambda t: t / 1000,
    "t / (T-1)": lambda t: t / 999,
    "t + 1": lambda t: t + 1,
    "T - t": lambda t: 1000 - t,
    "1 - t / T": lambda t: 1 - t / 1000,
    "2 t / T - 1": lambda t: 2 * t / 1000 - 1,
}
ALIKE = {frozenset(("t", "t + 1")), frozenset(("t / T", "t / (T-1)"))}  # a step apart at most


def found(case):
    return findings(run_check(case, sampler, time_input), *CODES)


@pytest.mark.parametrize("training", FORMS)
@pytest.mark.parametrize("sampling", FORMS)
def test_every_pair_of_conventions(training, sampling):
    loop = ddim(cosine(), "v", time=FORMS[sampling])
    reported = found(diffusion_case(sample=loop, training_time=FORMS[training]))
    if training == sampling:
        assert reported == []
        return
    (finding,) = reported
    alike = frozenset((training, sampling)) in ALIKE
    assert finding.code == "S505"
    assert finding.standing is (Standing.SUSPECTED if alike else Standing.DEMONSTRATED)
    assert "model(x, clock" in line_at(finding.location)
    (proposal,) = finding.proposals
    assert proposal.treatment == "time-as-in-training"
    # The proposed map must turn what sampling passes into what training passes, at every timestep.
    for t in (0, 137, 999):
        cured = FORMS[sampling](t) * proposal.parameters["scale"] + proposal.parameters["offset"]
        assert cured == pytest.approx(FORMS[training](t), abs=1e-3 * abs(FORMS[training](999) - FORMS[training](0)))


@pytest.mark.parametrize("shift", [-100, -20, 20, 100])
@pytest.mark.parametrize("kind", ["epsilon", "v", "sample"])
@pytest.mark.parametrize("table", [cosine(), linear()], ids=["cosine", "linear"])
def test_a_time_that_runs_ahead_or_behind_the_loops_arithmetic(shift, kind, table):
    plan = range(880, 100, -60)
    loop = ddim(table, kind, timesteps=plan, time=lambda t: t + shift)
    (finding,) = [item for item in found(diffusion_case(kind, table, sample=loop)) if item.code != "S503"]
    assert (finding.code, finding.standing) == ("S505", Standing.DEMONSTRATED)
    assert finding.proposals[0].parameters == {"scale": 1.0, "offset": float(-shift)}


def test_the_time_of_the_next_step():
    """A loop that has already advanced its counter tells the network where it is going, not where it is."""
    plan = trailing(1000, 10)
    loop = ddim(cosine(), "v", timesteps=plan, time=lambda t: max(t - 100, 0))
    (finding,) = found(diffusion_case(sample=loop))
    assert (finding.code, finding.standing) == ("S505", Standing.DEMONSTRATED)


@pytest.mark.parametrize("clock", [lambda t: t // 1000, lambda t: 500], ids=["integer division", "constant"])
def test_a_time_that_never_changes(clock):
    (finding,) = found(diffusion_case(sample=ddim(cosine(), "v", time=clock)))
    assert finding.code == "S505"
    assert "the same time" in finding.message


def test_number_type_and_shape_of_the_argument_are_recorded_but_no_fault():
    def loop(model, batch):
        return ddim(cosine(), "v", time=lambda t: t / 1000)(model, batch)

    evidence = run_check(diffusion_case(sample=loop, training_time=lambda t: (t / 1000)[:, None]), sampler, time_input)
    sides = {record.phase: record for record in evidence.of(TimeArgument)}
    assert sides["training"].shape == (2, 1)
    assert sides["sampling"].shape == (2,)
    assert sides["training"].convention == sides["sampling"].convention == "t / 1000"
    assert findings(evidence, *CODES) == []


def test_the_line_is_the_loops_own_where_both_call_the_network_through_one_function():
    def call(model, x, t, batch):
        return model(x, t, batch["condition"])

    def sample(model, batch):
        x, table = torch.randn_like(batch["image"]), cosine()
        for t, following in ((999, 500), (500, None)):
            v = call(model, x, torch.full((len(x),), t / 1000), batch)  # raw elsewhere
            a, after = table[t], table[following] if following else torch.tensor(1.0)
            x0, eps = a.sqrt() * x - (1 - a).sqrt() * v, a.sqrt() * v + (1 - a).sqrt() * x
            x = after.sqrt() * x0 + (1 - after).sqrt() * eps
        return x

    def loss(model, batch):
        t = torch.randint(0, 1000, (2,))
        alpha = expand(cosine()[t], batch["image"])
        x_t = alpha.sqrt() * batch["image"] + (1 - alpha).sqrt() * torch.randn_like(batch["image"])
        return call(model, x_t, t, batch).square().mean()

    (finding,) = found(diffusion_case(sample=sample, loss=loss, diffusion__denoise=call))
    assert line_at(finding.location).endswith("# raw elsewhere")


def narrow(highest):
    def loss(model, batch):
        x0 = batch["image"]
        t = torch.randint(0, highest, (len(x0),))
        alpha = expand(cosine()[t], x0)
        x_t = alpha.sqrt() * x0 + (1 - alpha).sqrt() * torch.randn_like(x0)
        return model(x_t, t, batch["condition"]).square().mean()

    return diffusion_case(loss=loss)


@pytest.mark.parametrize(("highest", "codes"), [(200, ["S505"]), (1000, [])])
def test_timesteps_that_training_never_draws(highest, codes):
    reported = found(narrow(highest))
    assert [finding.code for finding in reported] == codes
    if reported:
        assert reported[0].standing is Standing.SUSPECTED
        assert "sampling visits" in reported[0].message


def test_the_loss_is_believed_rather_than_the_declared_denoiser():
    """denoise() passes raw time, the loss divides it: what counts is what trains."""
    case = diffusion_case(sample=ddim(cosine(), "v", time=lambda t: t / 1000), training_time=lambda t: t / 1000)
    raw = case.replace(diffusion__denoise=lambda model, x, t, batch: model(x, t, batch["condition"]))
    assert found(raw) == []
