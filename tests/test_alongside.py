"""Two scripts that belong together: what the one trains is known when the other samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from traindx.errors import UsageError
from traindx.evidence import Evidence
from traindx.evidence.sampled import LoopSeen, NoisedDraws, TableSeen, TimesTold
from traindx.evidence.sampling import SamplerRun, TimeArgument
from traindx.host.alongside import companions, trained_in
from traindx.host.sampling_loops import sampling_loops
from traindx.rules import catalogue

T = 1000
BETAS = np.linspace(1e-4, 0.02, T)
ALPHAS = np.cumprod(1 - BETAS)
TABLE = TableSeen(name="", values=tuple(ALPHAS))


def training(kind: str) -> NoisedDraws:
    """Twenty draws of a network that is told t / 1000."""
    index = np.linspace(3, 990, 20).astype(int)
    a, s = np.sqrt(ALPHAS[index]), np.sqrt(1 - ALPHAS[index])
    x0, noise = {"epsilon": (0 * a, 1 + 0 * a), "v": (-s, a)}[kind]
    return NoisedDraws(
        network="Net",
        a=tuple(a),
        s=tuple(s),
        times=tuple(index / T),
        told_by="t",
        index=tuple(int(one) for one in index),
        tables=(TABLE,),
        of_x0=tuple(x0),
        of_noise=tuple(noise),
    )


def loop(kind: str, scale: float, *, to: int = 50) -> LoopSeen:
    """A DDIM along every fiftieth timestep that reads its output as a type and steps down by ``to``."""
    steps = np.arange(T - 1, 0, -50)
    a, s = np.sqrt(ALPHAS[steps[:-1]]), np.sqrt(1 - ALPHAS[steps[:-1]])
    after = ALPHAS[steps[:-1] - to]
    b, tau = np.sqrt(after), np.sqrt(1 - after)
    if kind == "epsilon":  # x' = b (x - s out) / a + tau out
        of_x, of_output = b / a, tau - b * s / a
    else:  # x' = b (a x - s out) + tau (s x + a out)
        of_x, of_output = b * a + tau * s, tau * a - b * s
    zeros = (0.0,) * len(a)
    return LoopSeen(
        network="Net",
        of_x=tuple(of_x),
        of_output=tuple(of_output),
        of_noise=zeros,
        residual=zeros,
        followed_by=(0,) * len(a),
        told=(TimesTold(name="t", values=tuple(steps * scale)),),
        picked=tuple(((0, int(t)), (0, int(t) - to)) for t in steps[:-1]),
        tables=(TABLE,),
        calls=len(steps),
    )


def judged(evidence: Evidence, elsewhere: tuple[NoisedDraws, ...] = ()) -> list[str]:
    for record in sampling_loops(evidence, elsewhere):
        evidence.add(record)
    rules = [rule for code, rule in catalogue().items() if code in ("S501", "S502", "S503", "S504", "S505")]
    found = []
    for rule in rules:
        for decider in rule.deciders:
            if decider.has_records(evidence):
                found += [finding.code for finding in decider.decide(evidence, rule.limits(None))]
    return found


def gathered(*records: LoopSeen | NoisedDraws) -> Evidence:
    evidence = Evidence()
    for record in records:
        evidence.add(record)
    return evidence


@pytest.mark.parametrize("kind", ["epsilon", "v"])
def test_right_loops_of_both_scripts(kind: str) -> None:
    assert not judged(gathered(loop(kind, 1 / T)), (training(kind),))


def test_the_time_of_another_script() -> None:
    """t / 1000 where it trains, t where it samples: neither script shows it alone."""
    assert not judged(gathered(loop("v", 1.0)))
    assert judged(gathered(loop("v", 1.0)), (training("v"),)) == ["S505"]


def test_the_type_of_another_script() -> None:
    """A loop for ε is right by itself, and wrong for a network that is trained on v."""
    assert not judged(gathered(loop("epsilon", 1 / T)))
    assert judged(gathered(loop("epsilon", 1 / T)), (training("v"),)) == ["S504"]


def test_steps_that_do_not_join_up() -> None:
    assert judged(gathered(loop("epsilon", 1 / T, to=1), training("epsilon"))) == ["S502"]


def test_an_average_of_the_network_is_its_network() -> None:
    """Made at another line, of the same class."""
    found = list(sampling_loops(gathered(loop("v", 1 / T)), (training("v"),)))
    assert [record.prediction for record in found if isinstance(record, SamplerRun)] == ["v"]
    assert {record.phase for record in found if isinstance(record, TimeArgument)} == {"training", "sampling"}


def test_what_is_given_must_be_a_script_or_evidence(tmp_path: Path) -> None:
    record = training("v")
    line = json.dumps({"kind": record.kind, **record.model_dump(mode="json", exclude_defaults=True)})
    (tmp_path / "evidence.jsonl").write_text(line + "\n", encoding="utf-8")
    (tmp_path / "infer.py").write_text("", encoding="utf-8")
    old, script = companions([str(tmp_path), f"{tmp_path / 'infer.py'} --weights 'a b.pt'"], tmp_path / "out")
    assert [one.network for one in trained_in([old.evidence])] == ["Net"]
    assert script.arguments == ("--weights", "a b.pt")
    assert script.evidence == tmp_path / "out" / "with-2"
    with pytest.raises(UsageError, match="neither a script nor evidence"):
        companions(["nothing.here"], tmp_path)
