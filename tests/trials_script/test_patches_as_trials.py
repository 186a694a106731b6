"""Patches as trials: every finding with a patch has one, put in place while the files are loaded."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from traindx.cli.script import tried_patch
from traindx.evidence import Evidence
from traindx.finding import Finding, Proposal
from traindx.trials.script.binding import PATCH
from traindx.trials.script.patches import edits_between, with_patches
from traindx.trials.script.prove import Proof
from traindx.trials.treatment import TreatmentUnfitError
from traindx.watch.runtime.edits import Edit, compiled_with
from traindx.watch.runtime.settings import Settings
from trials_script.conftest import edited, finding_at
from trials_script.scripts_for_tests import CLASSIFY

SUMMED = edited(
    CLASSIFY,
    ("F.cross_entropy(out, y)", "F.cross_entropy(\n            out, y, reduction='sum')"),
    ("lr=0.3", "lr=1.0"),
)


def test_a_finding_without_a_treatment_has_its_patch_tried(forked: Path) -> None:
    (forked / "train.py").write_text(SUMMED, encoding="utf-8")
    (forked / "out").mkdir()
    finding = finding_at("L307", SUMMED, "F.cross_entropy(", variant="summed")
    proof = Proof(
        Settings(target="train.py"), [finding], Evidence(), forked / "out", 120.0, seeds=(0, 1), patch_of=tried_patch
    )
    table = proof.run()
    result = next(one for one in table.results if one.treatment == PATCH)
    assert result.codes == ("L307",)
    assert result.title == "patch: Take the mean instead of the sum, train.py:16"
    arms = {arm.name: arm.values for arm in table.arms}
    assert len(arms["none"]) == 2
    by_hand = SUMMED.replace("'sum'", "'mean'")
    assert (forked / "train.py").read_text(encoding="utf-8") == SUMMED
    (forked / "train.py").write_text(by_hand, encoding="utf-8")
    (forked / "hand").mkdir()
    again = Proof(Settings(target="train.py"), [finding], Evidence(), forked / "hand", 120.0, seeds=(0,))
    again.battery = True  # the control alone, without a treatment
    again.backend.begin(0, again.trial.deadline)
    assert again.backend.chosen is not None
    assert again.backend._value(again.backend.controls[0]) == arms["all"][0]


def test_which_findings_have_their_patch_proposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = "loss = a + term.detach()\nscheduler.step()\nw.load_state_dict(s, strict=False)\n"
    (tmp_path / "train.py").write_text(source, encoding="utf-8")

    def proposed(finding: Finding) -> list[str]:
        made = with_patches([finding], Evidence(), tried_patch)
        return [one.treatment for one in made.findings[0].proposals]

    rate = Proposal(treatment="learning-rate", parameters={"factor": 2.0})
    gone = Proposal(treatment="drop-term", parameters={"term": "term"})
    assert proposed(finding_at("L303", source, "loss", rate)) == ["learning-rate"]
    assert proposed(finding_at("L303", source, "loss", gone)) == ["drop-term", PATCH]
    assert proposed(finding_at("L303", source, "loss", Proposal(treatment="train-longer"))) == ["train-longer", PATCH]
    assert proposed(finding_at("L303", source, "scheduler")) == []
    assert proposed(finding_at("T903", source, "loss")) == []

    strict = with_patches([finding_at("C1102", source, "load_state_dict")], Evidence(), tried_patch)
    with pytest.raises(TreatmentUnfitError, match="makes the script stop"):
        strict.bound(strict.findings[0].proposals[0])


def test_an_edited_file_keeps_the_numbers_of_its_lines() -> None:
    source = "import sys\n\n\ndef place():\n    return sys._getframe(1).f_lineno\n\n\nfirst = place()\nlast = place()\n"
    edits = [
        Edit("a.py", 4, (), ("new = 1", "other = (", "    2,", ")", "")),
        Edit("a.py", 8, ("first = place()",), ("before = place()", "first = place()", "after = place()")),
    ]
    values: dict[str, int] = {}
    exec(compiled_with(source, edits, "a.py"), values)
    assert (values["new"], values["other"]) == (1, (2,))
    assert (values["before"], values["first"], values["after"], values["last"]) == (8, 8, 8, 9)
    assert values["place"].__code__.co_firstlineno == 4  # type: ignore[attr-defined]


def test_what_is_removed_moves_no_line_and_text_is_kept() -> None:
    source = 'a = 1\nb = """x\ny"""\nc = (f"{a}"\n  f"{a}")\nd = [\n    1, 2]\n'
    edits = [Edit("a.py", 1, ("a = 1",), ("a = 5",)), Edit("a.py", 2, ('b = """x', 'y"""'), ('b = """z"""',))]
    values: dict[str, object] = {}
    exec(compiled_with(source, edits, "a.py"), values)
    assert (values["a"], values["b"], values["c"], values["d"]) == (5, "z", "55", [1, 2])
    with pytest.raises(ValueError, match="not what the change is for"):
        compiled_with(source, [Edit("a.py", 1, ("a = 2",), ())], "a.py")


def test_the_lines_of_a_patch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = "x = 1\nloss = a + term.detach()\r\ny = 2\n"
    (tmp_path / "train.py").write_bytes(source.encode())
    patch = tried_patch(finding_at("L303", source, "loss"))
    assert patch is not None
    edits = edits_between(patch)
    assert [(one.line, one.old, one.new) for one in edits] == [(2, ("loss = a + term.detach()",), ("loss = a + term",))]


def code_of(code: CodeType) -> list[object]:
    """Everything that a code object does, and the lines of it."""
    inner = [one for one in code.co_consts if isinstance(one, CodeType)]
    return [code.co_name, code.co_code, list(code.co_lines()), *(part for one in inner for part in code_of(one))]


@pytest.mark.parametrize("module", [argparse, dataclasses, typing], ids=lambda module: module.__name__)
def test_a_line_that_does_nothing_changes_no_instruction_and_no_number(module: ModuleType) -> None:
    path = str(module.__file__)
    source = Path(path).read_text(encoding="utf-8")
    edits = [Edit(path, 1, (), ("",)), Edit(path, len(source.splitlines()) + 1, (), ("",))]
    assert code_of(compiled_with(source, edits, path)) == code_of(compile(source, path, "exec", dont_inherit=True))
