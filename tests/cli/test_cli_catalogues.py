"""``rules``, ``explain``, ``faults`` and the commands that hand over to a recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from traindx import rules as rules_package
from traindx.cli import catalogues
from traindx.cli.app import run
from traindx.evidence import Evidence, Record
from traindx.finding import Severity
from traindx.rules import Found, Limits, Registry, Threshold, rule


class CatalogueThing(Record):
    value: float


@rule("S598", "first-thing", Severity.MAJOR, needs=(CatalogueThing,), limit=Threshold(0.25, "see the paper"))
def first(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds: A thing [in brackets]. And more.

    Remedy:
        Mend it.
    """
    yield from ()


@rule("M299", "second-thing", Severity.NOTE, needs=(CatalogueThing,))
def second(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds: Another."""
    yield from ()


@pytest.fixture
def two_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_package, "catalogue", lambda: Registry([first, second]))


@pytest.mark.usefixtures("two_rules")
def test_rules_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [item["code"] for item in listed] == ["M299", "S598"]
    assert listed[1] == {
        "code": "S598",
        "name": "first-thing",
        "family": "diffusion and sampling",
        "severity": "major",
        "summary": "A thing [in brackets]",
        "evidence": ["CatalogueThing"],
        "thresholds": {"limit": {"value": 0.25, "why": "see the paper"}},
    }


@pytest.mark.usefixtures("two_rules")
def test_rules_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules"]) == 0
    out = capsys.readouterr().out
    assert "S598" in out
    assert "A thing [in brackets]" in out
    assert "2 rules" in out


@pytest.mark.usefixtures("two_rules")
@pytest.mark.parametrize("name", ["S598", "s598", "first-thing"])
def test_explain_by_code_or_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", name]) == 0
    out = capsys.readouterr().out
    for text in ("S598 first-thing", "A thing [in brackets]. And more.", "Mend it.", "limit", "0.25", "see the paper"):
        assert text in out
    assert "tool.traindx.thresholds.S598" in out


@pytest.mark.usefixtures("two_rules")
@pytest.mark.parametrize("name", ["S597", "S", "frist-thing", "nothing at all"])
def test_explain_of_no_rule(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", name]) == 2
    err = capsys.readouterr().err
    assert f"there is no rule {name!r}" in err
    if name not in {"nothing at all", "S"}:
        assert "S598" in err or "first-thing" in err


@dataclass
class ToyFault:
    name: str
    recipe: str = "toy"
    title: str = "a title"
    postmortem: str = "toy.md"
    expected_rule: str = "S501"
    documented_diagnosis: str = "wrong"
    claim: str = "a claim"
    truth: str = "a truth"


@dataclass
class ToyRecipe:
    seen: list[Any] = field(default_factory=list)
    answer: Any = None

    def train(self, argv: Sequence[str]) -> Any:
        self.seen.append(("train", list(argv)))
        return self.answer

    def predict(self, argv: Sequence[str]) -> Any:
        self.seen.append(("predict", list(argv)))
        return self.answer

    def evaluate(self, argv: Sequence[str]) -> Any:
        self.seen.append(("evaluate", list(argv)))
        return self.answer


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ToyRecipe:
    recipe = ToyRecipe()
    monkeypatch.setattr(catalogues, "recipes", lambda: {"toy": recipe})
    faults = [ToyFault("one"), ToyFault("placebo-two", expected_rule="")]
    monkeypatch.setattr(catalogues, "faults", lambda: {fault.name: fault for fault in faults})
    return recipe


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("arguments", [["faults", "--json"], ["faults", "list", "--json"]])
def test_faults_as_json(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [item["name"] for item in listed] == ["one", "placebo-two"]
    assert listed[0]["documented_diagnosis"] == "wrong"
    assert set(listed[0]) >= {"name", "recipe", "postmortem", "expected_rule", "documented_diagnosis"}


@pytest.mark.usefixtures("toy")
def test_faults_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["faults"]) == 0
    out = capsys.readouterr().out
    assert "placebo-two" in out
    assert "2 faults" in out
    assert run(["faults", "drop"]) == 2


@pytest.mark.parametrize("command", ["train", "predict", "evaluate"])
@pytest.mark.parametrize("rest", [[], ["--help"], ["--trainer.max_epochs", "3", "-c", "x.yaml"], ["data", "--json"]])
def test_everything_after_the_recipe_is_its_own(toy: ToyRecipe, command: str, rest: list[str]) -> None:
    assert run([command, "toy", *rest]) == 0
    assert toy.seen == [(command, rest)]


@pytest.mark.parametrize(("answer", "code"), [(None, 0), (0, 0), (3, 3), (True, 0), ({"psnr": 1.0}, 0)])
def test_a_recipes_exit_code(toy: ToyRecipe, answer: Any, code: int) -> None:
    toy.answer = answer
    assert run(["train", "toy"]) == code


def test_an_unknown_recipe(toy: ToyRecipe, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "toyy"]) == 2
    assert "did you mean 'toy'?" in capsys.readouterr().err
