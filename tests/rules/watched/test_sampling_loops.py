"""Sampling loops of scripts: S501, S502, S504 and S505 read off the tensors that pass, and healthy loops left alone."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from traindx.evidence.sampled import NoisedDraws
from traindx.finding import Finding, Standing
from traindx.host.sampling_loops import sampling_loops
from watch.inside import found as found_in
from watch.inside import watched

NETWORK = """
import math
import torch
from torch import nn

torch.manual_seed(0)
T = 200
betas = torch.linspace(1e-4, 0.05, T)
alphas = 1 - betas
alphas_cumprod = torch.cumprod(alphas, 0)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(1, 16), nn.SiLU(), nn.Linear(16, 8))
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x, t):
        h = self.first(x) + self.time(t.float()[:, None])[:, :, None, None]
        return self.last(torch.relu(h))

model = Net()
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
data = torch.rand(32, 1, 16, 16) * 2 - 1
"""

TRAIN = """
for step in range(12):
    x0 = data[torch.randint(0, 32, (4,))]
    t = torch.randint(0, T, (4,))
    noise = torch.randn_like(x0)
    a = alphas_cumprod[t].sqrt().view(-1, 1, 1, 1)
    s = (1 - alphas_cumprod[t]).sqrt().view(-1, 1, 1, 1)
    out = model(a * x0 + s * noise, t / T)
    loss = nn.functional.mse_loss(out, WANTED)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item())
"""

STRIDED = """
@torch.no_grad()
def sample(n):
    x = torch.randn(n, 1, 16, 16)
    steps = list(range(T - 1, -1, -20))
    for i, t in enumerate(steps):
        out = model(x, torch.full((n,), t) / T)
        a = alphas_cumprod[t].sqrt()
        s = (1 - alphas_cumprod[t]).sqrt()
        after = alphas_cumprod[steps[i + 1]] if i + 1 < len(steps) else torch.tensor(1.0)
        b, tau = after.sqrt(), (1 - after).sqrt()
        STEP
    return x

model.eval()
for patient in range(3):
    sample(1)
"""

ANCESTRAL = """
@torch.no_grad()
def sample(n):
    x = torch.randn(n, 1, 16, 16)
    for t in TIMES:
        out = model(x, torch.full((n,), t) / T)
        mean = (x - betas[t] / (1 - alphas_cumprod[t]).sqrt() * out) / alphas[t].sqrt()
        x = mean + betas[t].sqrt() * torch.randn_like(x) if t > 0 else mean
    return x

model.eval()
sample(2)
"""

WANTED = {"epsilon": "noise", "v": "a * noise - s * x0", "sample": "x0"}
RIGHT = {
    "epsilon": "x0 = (x - s * out) / a; eps = out; x = b * x0 + tau * eps",
    "v": "x0 = a * x - s * out; eps = a * out + s * x; x = b * x0 + tau * eps",
    "sample": "x0 = out; eps = (x - a * x0) / s; x = b * x0 + tau * eps",
}


Examined = Callable[[str], list[Finding]]


@pytest.fixture
def examined(tmp_path: Path) -> Examined:
    """``examined(source)``: what the rules on sampling find in a script, which is run in this process."""

    def go(source: str) -> list[Finding]:
        (tmp_path / "train.py").write_text(source.lstrip("\n"), encoding="utf-8")
        evidence = watched(lambda: runpy.run_path(str(tmp_path / "train.py")), tmp_path / "out")
        for record in sampling_loops(evidence):
            evidence.add(record)
        return [finding for code in CODES for finding in found_in(code, evidence)]

    return go


CODES = ("S501", "S502", "S503", "S504", "S505", "S506")


def program(kind: str, sampler: str) -> str:
    return NETWORK + TRAIN.replace("WANTED", WANTED[kind]) + sampler


@pytest.mark.parametrize("kind", ["v", "sample"])
def test_ddim_is_left_alone(kind: str, examined: Examined) -> None:
    """Deterministic DDIM, one patient at a time, for each prediction type."""
    assert not (examined(program(kind, STRIDED.replace("STEP", RIGHT[kind]))))


def test_all_kinds_of_steps_that_are_right(examined: Examined) -> None:
    """Near misses: noise at every step, x0 clamped, guidance by two calls, all in one program after one training."""
    noisy = "x0 = (x - s * out) / a; z = 0.5 * tau; x = b * x0 + (tau**2 - z**2).sqrt() * out + z * torch.randn_like(x)"
    clamped = "x0 = ((x - s * out) / a).clamp(-1, 1); x = b * x0 + tau * (x - a * x0) / s"
    guided = "other = model(x, torch.full((n,), t) / T + 0.1); out = out + 2 * (out - other); " + RIGHT["epsilon"]
    loops = "".join(STRIDED.replace("STEP", step) for step in (noisy, clamped, guided))
    ancestral = ANCESTRAL.replace("TIMES", "reversed(range(T))")
    assert not (examined(program("epsilon", loops + ancestral)))


V_AS_NOISE = "x0 = a * x - s * out\n        x = b * x0 + tau * out"


def test_v_taken_for_the_noise(examined: Examined) -> None:
    """x̂0 is right and the output itself is used as ε̂: the whole loop is off at every step."""
    source = program("v", STRIDED.replace("STEP", V_AS_NOISE)).replace("0.05", "0.1")  # so much noise that s is 1
    found = examined(source)
    assert [(finding.code, finding.standing) for finding in found] == [("S501", Standing.DEMONSTRATED)]
    assert "v̂" in found[0].message or "output" in found[0].message
    assert found[0].location is not None
    assert "x = b * x0 + tau * out" in source.lstrip("\n").splitlines()[found[0].location.line - 1]


def test_a_wrong_formula_is_named_with_its_line(examined: Examined) -> None:
    """The same fault, computed by a line of its own."""
    step = "x0 = a * x - s * out\n        eps = (a * x - x0) / s\n        x = b * x0 + tau * eps"
    source = program("v", STRIDED.replace("STEP", step))
    found = examined(source)
    assert [finding.code for finding in found] == ["S501"]
    lines = source.lstrip("\n").splitlines()
    assert found[0].location is not None
    assert "eps = (a * x - x0) / s" in lines[found[0].location.line - 1]


def test_steps_that_a_clamp_hides(examined: Examined) -> None:
    """Most steps cannot be seen through a narrow clamp of x̂0; those that can be say what is wrong."""
    step = (
        "x0 = a * x - s * out - (1 if t > 90 else 0)\n        x0 = x0.clamp(-0.9, 0.9) if t < 90 else x0.clamp(0.9, 1)"
    )
    found = examined(program("v", STRIDED.replace("STEP", step + "\n        x = b * x0 + tau * out")))
    assert [finding.code for finding in found] == ["S501"]


def test_the_output_read_as_another_type(examined: Examined) -> None:
    found = examined(program("v", STRIDED.replace("STEP", RIGHT["epsilon"])))
    assert [(finding.code, finding.standing) for finding in found] == [("S504", Standing.DEMONSTRATED)]


def test_single_steps_in_a_strided_loop(examined: Examined) -> None:
    """Betas of one step while the loop jumps by twenty."""
    found = examined(program("epsilon", ANCESTRAL.replace("TIMES", "range(T - 1, -1, -20)")))
    assert [(finding.code, finding.standing) for finding in found] == [("S502", Standing.DEMONSTRATED)]


def test_time_told_in_another_form(examined: Examined) -> None:
    """t / T in training and t in the loop; every step is right."""
    loop = STRIDED.replace("STEP", RIGHT["epsilon"]).replace("t) / T", "t).float()")
    found = examined(program("epsilon", loop))
    assert [(finding.code, finding.standing) for finding in found] == [("S505", Standing.DEMONSTRATED)]


FLOW = """
for step in range(12):
    x1 = data[torch.randint(0, 32, (4,))]
    t = torch.rand(4)
    noise = torch.randn_like(x1)
    at = t.view(-1, 1, 1, 1)
    loss = nn.functional.mse_loss(model((1 - at) * x1 + at * noise, t), noise - x1)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

with torch.no_grad():
    x = torch.randn(2, 1, 16, 16)
    for i in range(10):
        t = torch.full((2,), 1 - i / 10)
        x = x - 0.1 * model(x, t)
print("done")
"""

EDM = """
class Preconditioned(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, sigma):
        sd = 0.5
        sigma = sigma.reshape(-1, 1, 1, 1)
        c_skip = sd**2 / (sigma**2 + sd**2)
        c_out = sigma * sd / (sigma**2 + sd**2).sqrt()
        c_in = 1 / (sd**2 + sigma**2).sqrt()
        return c_skip * x + c_out * self.net(c_in * x, sigma.flatten().log() / 4)

D = Preconditioned(model)
for step in range(12):
    x0 = data[torch.randint(0, 32, (4,))]
    sigma = (torch.randn(4) * 1.2 - 1.2).exp()
    noise = torch.randn_like(x0) * sigma.view(-1, 1, 1, 1)
    loss = ((D(x0 + noise, sigma) - x0) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

with torch.no_grad():
    sigmas = torch.linspace(20 ** (1 / 7), 0.01 ** (1 / 7), 12) ** 7
    x = torch.randn(2, 1, 16, 16) * sigmas[0]
    for now, then in zip(sigmas[:-1], sigmas[1:]):
        slope = (x - D(x, now.expand(2))) / now
        x = x + (then - now) * slope
print("done")
"""

REFINEMENT = """
class Refine(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, weight):
        return self.conv(x) * weight

model = Refine()
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
weights = torch.linspace(0.9, 0.1, 10)
for step in range(12):
    clean = data[torch.randint(0, 32, (4,))]
    x = clean + 0.3 * torch.randn_like(clean)
    for i in range(5):
        x = x - model(x, weights[i])
    loss = nn.functional.mse_loss(x, clean)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
with torch.no_grad():
    x = data[:2]
    for i in range(10):
        x = x - model(x, weights[i])
print("done")
"""


def test_other_loops_are_left_alone(examined: Examined) -> None:
    """Near misses: flow matching, EDM and unrolled refinement are loops of another kind."""
    assert not (examined(NETWORK + FLOW + EDM + REFINEMENT))


def test_watching_a_loop_changes_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    """Bit-identical samples, weights and random state; every x is gone when the loop has gone on."""
    step = "x = b * (x - s * out) / a + 0.6 * tau * out + 0.8 * tau * torch.randn_like(x); kept.append(weakref.ref(x))"
    loop = "import weakref\nkept = []\n" + STRIDED.replace("STEP", step) + "result = sample(2)\n"
    ends = "state = torch.get_rng_state()\nalive = sum(one() is not None for one in kept)\n"
    (tmp_path / "train.py").write_text(program("epsilon", loop + ends), encoding="utf-8")
    runs: list[dict[str, Any]] = [runpy.run_path(str(tmp_path / "train.py"))]
    watched(lambda: runs.append(runpy.run_path(str(tmp_path / "train.py"))), tmp_path / "out")
    for name in ("result", "state"):
        assert torch.equal(runs[0][name], runs[1][name])
    for one, other in zip(runs[0]["model"].parameters(), runs[1]["model"].parameters(), strict=True):
        assert torch.equal(one, other)
    assert [run["alive"] for run in runs] == [1, 1]  # the result


def test_accumulated_passes_through_a_network_in_a_network(tmp_path: Path) -> None:
    """Every pass of a step counts, for the outer network: what is inside it is given the same x."""
    wrapped = """
class Conditioned(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, t):
        return self.net(x, t)

model = Conditioned(model)
"""
    training = TRAIN.replace("optimizer.zero_grad()", "loss /= 3").replace("optimizer.step()", "accumulated(step)")
    accumulated = """
def accumulated(step):
    if step % 3 == 2:
        optimizer.step()
        optimizer.zero_grad()
"""
    source = NETWORK + wrapped + accumulated + training.replace("WANTED", "noise")
    (tmp_path / "train.py").write_text(source, encoding="utf-8")
    evidence = watched(lambda: runpy.run_path(str(tmp_path / "train.py")), tmp_path / "out")
    (trained,) = evidence.of(NoisedDraws)
    assert trained.network == "Conditioned"
    assert len(trained.a) >= 2 * 3 * 4
    assert trained.told_by == "t"
    assert len(trained.index) == len(trained.of_noise) == len(trained.a)


GUIDED = """
@torch.no_grad()
def sample(n):
    x = torch.randn(n, 1, 16, 16)
    for t in TIMES:
        told = torch.full((n,), t) / T
        a = alphas_cumprod[t]
        with torch.enable_grad():
            leaf = x.clone().detach().requires_grad_(True)
            out = model(leaf, told)
            x0 = (leaf - (1 - a).sqrt() * out) / a.sqrt()
            pull = torch.autograd.grad((x0 - data[:n]).square().mean(), leaf)[0]
            spread = torch.stack([model(leaf, told).detach() for _ in range(3)]).var(0)
        mean = (x - betas[t] / (1 - a).sqrt() * out) / alphas[t].sqrt()
        x = mean + betas[t].sqrt() * torch.randn_like(x) if t > 0 else mean
        x = x - 0.1 * pull - 0 * spread
    return x

model.eval()
sample(2)
"""


@pytest.mark.parametrize(("times", "codes"), [("range(T - 1, -1, -20)", ["S502"]), ("reversed(range(T))", [])])
def test_guidance_by_a_gradient_is_told_from_the_step(times: str, codes: list[str], examined: Examined) -> None:
    """The network is called four times with one x, and a gradient is taken off at the end of each step."""
    source = program("epsilon", GUIDED.replace("TIMES", times))
    source = source.replace("model(leaf, told).detach()", "model(leaf, told + 1e-5 * (1 + i)).detach()")
    found = examined(source.replace("for _ in range(3)", "for i in range(3)"))
    assert [finding.code for finding in found] == codes
