"""What is told of a run without any declaration: phases, terms of a loss, and only ever lines of the user's own."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from traindx.evidence import Evidence
from traindx.evidence.observed import InputSeen, IterationsSeen, NetworkCalls
from traindx.evidence.observed_loss import LossTermSeen
from traindx.finding import Location
from traindx.host.diagnose import diagnose
from traindx.host.runner import run_script
from traindx.watch.runtime.settings import Settings
from traindx.watch.runtime.sink import compact

LAYERS = """
    import torch
    from torch import nn

    class Denoiser(nn.Module):
        def __init__(self):
            super().__init__()
            self.time = nn.Linear(1, 8)
            self.body = nn.Sequential(nn.Linear(8, 32), nn.SiLU(), nn.Linear(32, 8))

        def forward(self, x, t):
            return self.body(x + self.time(t.float().view(-1, 1) / 10))

    def edges(x, y):
        difference = x.diff(dim=-1) - y.diff(dim=-1)
        return difference.abs().mean()
"""

DIFFUSION = """
    import torch
    import torch.nn.functional as F
    from layers import Denoiser, edges

    @torch.no_grad()
    def sample(model, steps=10):
        x = torch.randn(4, 8)
        for t in reversed(range(steps)):
            x = x - 0.1 * model(x, torch.full((4,), t))  # sampling
        return x

    def validate(model):
        model.eval()
        with torch.no_grad():
            x = torch.randn(4, 8)
            error = F.mse_loss(model(x, torch.zeros(4)), x)  # validation
        model.train()
        return error.item()

    def main():
        torch.manual_seed(0)
        model = Denoiser()
        teacher = Denoiser().requires_grad_(False)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        lambda_edge = 0.25
        for step in range(40):
            x = torch.randn(16, 8)
            t = torch.randint(0, 10, (16,))
            with torch.no_grad():
                target = teacher(x, t)  # auxiliary
            out = model(x, t)  # training
            reconstruction = F.mse_loss(out, x)
            edge = edges(out, x)
            decay = sum(p.square().sum() for p in model.body.parameters())  # squares
            loss = reconstruction + lambda_edge * edge  # total
            loss = loss - 0.5 * F.l1_loss(out, target)  # minus
            loss = loss + 1e-4 * decay
            optimizer.zero_grad()
            loss.backward()  # backward
            optimizer.step()
            if step % 10 == 9:
                validate(model)
                sample(model)

    main()
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """One run that everything below looks at."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "layers.py").write_text(textwrap.dedent(LAYERS))
    script = folder / "train.py"
    script.write_text(textwrap.dedent(DIFFUSION))
    out = tmp_path_factory.mktemp("out")
    with Path(os.devnull).open("w") as nowhere:
        run = run_script(Settings(str(script), out=str(out)), output=nowhere.fileno())
    compact(out)
    diagnosis = diagnose(out, run)
    return script, Evidence.load(out), diagnosis


def places_of(evidence) -> list[Location]:
    """Every place that any record names."""
    values = [getattr(record, name) for record in evidence for name in type(record).model_fields]
    nested = [item for value in values if isinstance(value, tuple) for item in value]
    return [value for value in [*values, *nested] if isinstance(value, Location)]


def line_of(script: Path, comment: str) -> int:
    """The line that ends in a comment."""
    lines = script.read_text().splitlines()
    (number,) = [i for i, line in enumerate(lines, start=1) if line.endswith(f"# {comment}")]
    return number


def test_run_ended_well_and_nothing_is_wrong_with_it(seen):
    _, evidence, diagnosis = seen
    assert diagnosis.errors == ()
    assert evidence.of(IterationsSeen)[0].iterations == 40
    assert [finding.code for finding in diagnosis.findings if finding.standing.rank > 1] == []


@pytest.mark.parametrize("phase", ["training", "validation", "sampling", "auxiliary"])
def test_phases_are_told_apart(seen, phase):
    script, evidence, _ = seen
    places = [call for call in evidence.of(NetworkCalls) if call.phase == phase]
    assert [call.where.line for call in places] == [line_of(script, phase)]
    assert places[0].network == "Denoiser"


def test_modes_belong_to_phases(seen):
    _, evidence, _ = seen
    by_phase = {call.phase: call for call in evidence.of(NetworkCalls)}
    assert by_phase["validation"].in_training_mode == 0
    assert by_phase["training"].in_training_mode == by_phase["training"].calls


def test_inputs_have_ranges_of_their_own(seen):
    _, evidence, _ = seen
    (first,) = [one for one in evidence.of(InputSeen) if one.phase == "training" and one.argument == "0"]
    assert first.shape == (16, 8)
    assert -3.2 < first.low[0] < -1.8  # 1st percentile of a standard normal is -2.33
    assert 1.8 < first.high[0] < 3.2


def test_terms_are_found_with_weight_line_and_name(seen):
    script, evidence, _ = seen
    terms = {term.name: term for term in evidence.of(LossTermSeen)}
    assert set(terms) >= {"reconstruction", "edges", "decay"}
    (l1,) = [term for term in terms.values() if term.function == "l1_loss"]
    weights = {"reconstruction": 1.0, "edges": 0.25, "decay": 1e-4}
    for name, weight in weights.items():
        assert terms[name].weight == pytest.approx(weight, rel=1e-5)
    assert l1.weight == pytest.approx(-0.5)
    assert len(terms) == 4
    lines = {name: terms[name].where.line for name in weights}
    assert lines["reconstruction"] == lines["edges"] == line_of(script, "total")
    assert lines["decay"] == line_of(script, "squares")
    assert l1.where.line == line_of(script, "minus")
    assert {term.backward.line for term in terms.values()} == {line_of(script, "backward")}


def test_a_term_is_traced_to_the_file_that_computes_it(seen):
    _, evidence, _ = seen
    (term,) = [term for term in evidence.of(LossTermSeen) if term.name == "edges"]
    assert Path(term.origin.file).name == "layers.py"
    assert term.origin.symbol == "edges"
    assert term.meets_data


def test_regularisers_meet_no_data(seen):
    _, evidence, _ = seen
    (decay,) = [term for term in evidence.of(LossTermSeen) if term.name == "decay"]
    assert not decay.meets_data


def test_gradients_of_terms_were_taken_apart(seen):
    _, evidence, _ = seen
    terms = evidence.of(LossTermSeen)
    for shares in zip(*(term.gradient_shares for term in terms), strict=True):
        assert sum(shares) == pytest.approx(1.0)
    assert all(-1.0001 <= cosine <= 1.0001 for term in terms for cosine in term.cosines)


def test_every_place_is_a_line_of_the_users_own(seen):
    script, evidence, diagnosis = seen
    places = [*places_of(evidence), *(finding.location for finding in diagnosis.findings if finding.location)]
    assert len(places) > 10
    for place in places:
        path = Path(place.file).resolve()
        assert path.parent == script.parent.resolve(), place
        assert 1 <= place.line <= len(path.read_text().splitlines()), place


@pytest.mark.slow
def test_what_compiled_code_hides_is_said(watch):
    """Compiled without a compiler: what dynamo hides is hidden all the same."""
    compiled = watch(
        """
        import torch
        from torch import nn

        net = torch.compile(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)), backend="eager")
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        for step in range(12):
            x = torch.randn(8, 4)
            loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """
    )
    assert compiled.diagnosis.errors == ()
    (note,) = [one for one in compiled.diagnosis.not_examined if one.subject == "inside compiled Sequential"]
    assert "torch.compile" in note.reason
    assert note.where is not None
    assert note.where.line == 4
    assert {call.phase for call in compiled.of(NetworkCalls)} == {"training"}
