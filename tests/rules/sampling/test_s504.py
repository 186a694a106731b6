"""S504: what the loss asks for against what the loop reads."""

from __future__ import annotations

import pytest
import torch

from patients.samplers import cosine, ddim, diffusion_case, expand, linear, zero_terminal
from patients.sitting import findings, line_at, run_check
from traindx.checks.diffusion.prediction_type import prediction_type
from traindx.checks.diffusion.sampler import sampler
from traindx.evidence import NotExamined
from traindx.evidence.sampling import PredictionCheck
from traindx.finding import Severity, Standing

KINDS = ("epsilon", "v", "sample")
CODES = ("S501", "S502", "S503", "S504", "S505")


def sat(case):
    evidence = run_check(case, prediction_type, sampler)
    return evidence, findings(evidence, *CODES)


@pytest.mark.parametrize("trained", KINDS)
@pytest.mark.parametrize("sampled", KINDS)
@pytest.mark.parametrize("table", [cosine(), linear()], ids=["cosine", "linear"])
def test_every_pair_of_types(trained, sampled, table):
    evidence, reported = sat(diffusion_case(trained, table, sample=ddim(table, sampled)))
    assert evidence.last(PredictionCheck).trained == trained
    if trained == sampled:
        assert reported == []
        return
    (finding,) = reported
    assert (finding.code, finding.standing) == ("S504", Standing.DEMONSTRATED)
    assert (finding.numbers["trained"], finding.numbers["sampled"]) == (trained, sampled)
    assert finding.proposals[0].parameters == {"type": trained}
    assert "the step line" in line_at(finding.location)


def test_the_loss_decides_where_the_case_declares_something_else():
    """Declared v, but loss and loop agree on ε: nothing is wrong with the training."""
    _, (finding,) = sat(diffusion_case("v", trained="epsilon", sample=ddim(cosine(), "epsilon")))
    assert (finding.standing, finding.severity) == (Standing.SUSPECTED, Severity.NOTE)
    _, (finding,) = sat(diffusion_case("v", trained="epsilon", sample=ddim(cosine(), "v")))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.message.startswith("The loss asks for ε, but the sampling loop reads the network's output as v")


def test_a_loop_for_epsilon_at_zero_terminal_snr():
    table = zero_terminal(cosine())
    _, (finding,) = sat(diffusion_case("v", table, sample=ddim(table, "epsilon")))
    assert (finding.code, finding.numbers["sampled"]) == ("S504", "epsilon")


def test_without_a_loss_the_declaration_stands():
    evidence = run_check(diffusion_case("v", sample=ddim(cosine(), "sample"), loss=None), sampler)
    (finding,) = findings(evidence, *CODES)
    assert not evidence.of(PredictionCheck)
    assert finding.message.startswith("The network is declared to predict v")


def with_terms(kind, *, others):
    """A loss of several terms, one of which does not vanish at the exact answer."""
    table = cosine()

    def loss(model, batch):
        x0 = batch["image"]
        t = torch.randint(0, 1000, (len(x0),))
        eps, alpha = torch.randn_like(x0), expand(table[t], x0)
        a, s = alpha.sqrt(), (1 - alpha).sqrt()
        x_t = a * x0 + s * eps
        out = model(x_t, t, batch["condition"])
        exact = {"epsilon": eps, "v": a * eps - s * x0, "sample": x0}[kind]
        clean = {"epsilon": (x_t - s * out) / a.clamp_min(0.1), "v": a * x_t - s * out, "sample": out}[kind]
        terms = {"denoise": (out - exact).abs().mean(), "smooth": 0.1 * clean.diff(dim=-1).abs().mean()}
        return terms if others else terms["denoise"]

    return diffusion_case(kind, table, loss=loss)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("others", [False, True])
def test_other_losses_and_further_terms(kind, others):
    evidence, reported = sat(with_terms(kind, others=others))
    assert evidence.last(PredictionCheck).trained == kind
    assert reported == []


def test_a_loss_that_compares_neither_is_not_guessed():
    def spatially_invariant(model, batch):
        t = torch.randint(0, 1000, (2,))
        alpha = expand(cosine()[t], batch["image"])
        x_t = alpha.sqrt() * batch["image"] + (1 - alpha).sqrt() * torch.randn_like(batch["image"])
        return model(x_t, t, batch["condition"]).square().mean()

    evidence, reported = sat(diffusion_case(loss=spatially_invariant))
    assert evidence.last(PredictionCheck).trained == ""
    assert reported == []


def test_a_loss_on_something_else_than_the_target_is_not_examined():
    def residual(model, batch):
        t = torch.randint(0, 1000, (2,))
        x0 = 8 * batch["image"]
        alpha = expand(cosine()[t], x0)
        x_t = alpha.sqrt() * x0 + (1 - alpha).sqrt() * torch.randn_like(x0)
        return model(x_t, t, batch["condition"]).square().mean()

    evidence, _ = sat(diffusion_case(loss=residual))
    assert any("predict" in item.subject for item in evidence.of(NotExamined))
