"""What a user suspects: read, put in place in the script, and judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from traindx.diagnosis import TreatmentResult, TrialTable
from traindx.errors import UsageError
from traindx.evidence import Evidence
from traindx.finding import Verdict
from traindx.trials.script.battery import UNEXPLAINED
from traindx.trials.script.prove import Proof
from traindx.trials.script.settings_files import arguments_with, changed_text
from traindx.trials.script.suspects import Suspect, edits_of, parse, statement_at
from traindx.watch.runtime.edits import Edit, apply
from traindx.watch.runtime.settings import Settings
from trials_script.conftest import RunArm, edited, line_of, values_of
from trials_script.scripts_for_tests import CLASSIFY, SEGMENT

SLOW = edited(CLASSIFY, ("lr=0.3", "lr=1e-5"))


def told(suspect: Suspect) -> dict[str, Any]:
    """What the script's process is told."""
    return {**suspect.fields, "key": suspect.text}


def tried(
    folder: Path, source: str, *texts: str, battery: bool = False, seeds: tuple[int, ...] = (0, 1, 2)
) -> TrialTable:
    """The table of trials of some suspects."""
    (folder / "train.py").write_text(source, encoding="utf-8")
    (folder / "out").mkdir(exist_ok=True)
    suspects = [parse(text, "train.py") for text in texts]
    settings = Settings(target="train.py")
    return Proof(settings, (), Evidence(), folder / "out", 300.0, suspects=suspects, battery=battery).run()


def row(table: TrialTable, suspect: str) -> TreatmentResult:
    return next(one for one in table.results if one.treatment == suspect)


# -- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("lr x10", {"treatment": "learning-rate", "factor": 10.0}),
        ("learning rate /10", {"treatment": "learning-rate", "factor": 0.1}),
        ("without:variance", {"treatment": "drop-term", "term": "variance", "alike": True}),
        ("no-clipping", {"treatment": "no-clipping"}),
        ("eval-mode", {"treatment": "set-mode", "mode": "eval"}),
    ],
)
def test_what_is_said(text: str, fields: dict[str, Any]) -> None:
    assert parse(text).fields == fields


@pytest.mark.parametrize(
    "text", ["", "magic", "lr x0", "without:", "line nowhere.py:3 = x", "missing.diff", "unknown=3"]
)
def test_what_is_not_understood_is_refused_before_anything_runs(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        parse(text, folder=tmp_path)


def test_a_line_stands_for_its_whole_statement() -> None:
    source = "a = 1\nb = f(\n    2,\n    3,\n)\nif (a and\n        b):\n    c = 4\n"
    assert statement_at(source, 1) == (1, 1)
    assert statement_at(source, 3) == (2, 5)
    assert statement_at(source, 6) == (6, 7)
    assert statement_at(source, 8) == (8, 8)


def test_a_replaced_statement_moves_no_other_line(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = f(\n  1)\nif x:\n    y = 2\n", encoding="utf-8")
    edit = Edit.of(parse("line a.py:2 = x = 0", folder=tmp_path).fields["edits"][0])
    assert apply("x = f(\n  1)\nif x:\n    y = 2\n", [edit]) == "x = 0\n\nif x:\n    y = 2\n"
    gone = Edit.of(parse("line a.py:4 =", folder=tmp_path).fields["edits"][0])
    assert apply("x = f(\n  1)\nif x:\n    y = 2\n", [edit, gone]) == "x = 0\n\nif x:\n    pass\n"
    with pytest.raises(UsageError, match="invalid syntax"):
        parse("line a.py:4 = y = = 2", folder=tmp_path)


PATCH = """\
--- a/train.py
+++ b/train.py
@@ -2,3 +2,4 @@
 two
-three
+THREE
+and a half
 four
@@ -8,2 +9,1 @@
 eight
-nine
"""


def test_a_patch_is_put_where_its_lines_are(tmp_path: Path) -> None:
    lines = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    (tmp_path / "train.py").write_text("\n".join(["zero", *lines]) + "\n", encoding="utf-8")  # one line further down
    source = (tmp_path / "train.py").read_text(encoding="utf-8")
    expected = ["zero", "one", "two", "THREE", "and a half", *lines[3:8]]
    assert apply(source, edits_of(PATCH, tmp_path)).splitlines() == expected
    with pytest.raises(UsageError, match="does not fit"):
        edits_of(PATCH.replace("-three", "-drei"), tmp_path)


def test_two_changes_of_one_line_are_refused() -> None:
    edits = [Edit("a.py", 1, ("a",), ("b",)), Edit("a.py", 1, ("a", "c"), ("d",))]
    with pytest.raises(ValueError, match="two changes"):
        apply("a\nc\n", edits)


@pytest.mark.parametrize(
    ("name", "text", "key", "expected"),
    [
        (
            "c.yaml",
            "model:\n  lr: 1  # not this\nopt:\n  lr: 0.1  # this\n",
            "opt.lr",
            "model:\n  lr: 1  # not this\nopt:\n  lr: 0.5  # this\n",
        ),
        ("c.toml", "lr = 1\n[opt]\nlr = 0.1\n", "opt.lr", "lr = 1\n[opt]\nlr = 0.5\n"),
        ("c.json", '{"lr": 1, "opt": {"lr": 0.1}}', "opt.lr", json.dumps({"lr": 1, "opt": {"lr": 0.5}}, indent=2)),
    ],
)
def test_one_value_of_a_configuration_changes(tmp_path: Path, name: str, text: str, key: str, expected: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert changed_text(tmp_path / name, key, "0.5") == expected
    suspect = parse(f"{key}=0.5", arguments=["--config", name], folder=tmp_path)
    (tmp_path / "arm").mkdir()
    given = arguments_with(["--config", name], [told(suspect)], tmp_path / "arm", tmp_path)
    assert given[0] == "--config"
    assert Path(given[1]).read_text(encoding="utf-8") == expected
    assert (tmp_path / name).read_text(encoding="utf-8") == text
    with pytest.raises(UsageError):
        parse("opt.momentum=0.5", arguments=["--config", name], folder=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--lr", "0.1", "--amp"], ("--lr", "0.5", "--amp")),
        (["--lr=0.1"], ("--lr=0.5",)),
        (["--epochs", "3"], ("--epochs", "3", "--lr", "0.5")),
    ],
)
def test_an_argument_is_replaced_or_added(tmp_path: Path, arguments: list[str], expected: tuple[str, ...]) -> None:
    (tmp_path / "t.py").write_text("parser.add_argument('--lr', type=float)\n", encoding="utf-8")
    suspect = parse("config.lr=0.5", "t.py", arguments, tmp_path)
    assert arguments_with(arguments, [told(suspect)], tmp_path, tmp_path) == expected


def test_a_constant_of_the_script_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text("CONFIG = dict(rate=0.1, size=3)\nuse(CONFIG['rate'])\n", encoding="utf-8")
    edit = Edit.of(parse("rate=0.5", "t.py", folder=tmp_path).fields["edits"][0])
    assert edit.new == ("CONFIG = dict(rate=0.5, size=3)",)


# -- in the script ---------------------------------------------------------------------------------------------------


def test_a_changed_line_is_what_the_script_runs(arm: RunArm, forked: Path) -> None:
    by_hand = values_of(arm(edited(CLASSIFY, ("lr=0.3", "lr=0.05"))), "val acc")
    arm(CLASSIFY)
    line = line_of(CLASSIFY, "lr=0.3")
    suspect = parse(f"line train.py:{line} = opt = torch.optim.SGD(net.parameters(), lr=0.05)")
    result = arm(CLASSIFY, told(suspect))
    assert values_of(result, "val acc") == by_hand
    assert result.treatments[suspect.text]["hits"] == 1
    assert "lr=0.3" in (forked / "train.py").read_text(encoding="utf-8")


def test_a_changed_line_of_an_imported_module_is_what_it_runs(arm: RunArm, forked: Path) -> None:
    (forked / "settings_for_it.py").write_text("RATE = 0.3\n", encoding="utf-8")
    source = edited(CLASSIFY, ("lr=0.3", "lr=RATE"), ("import random", "from settings_for_it import RATE"))
    by_hand = values_of(arm(edited(CLASSIFY, ("lr=0.3", "lr=0.05"))), "val acc")
    suspect = parse("line settings_for_it.py:1 = RATE = 0.05")
    assert values_of(arm(source, told(suspect)), "val acc") == by_hand


def test_a_file_that_is_never_loaded_was_not_tried(arm: RunArm, forked: Path) -> None:
    (forked / "other.py").write_text("RATE = 0.3\n", encoding="utf-8")
    suspect = parse("line other.py:1 = RATE = 0.05")
    assert arm(CLASSIFY, told(suspect)).treatments[suspect.text]["hits"] == 0


def test_a_term_is_known_by_its_words(arm: RunArm) -> None:
    without = edited(SEGMENT, ("loss = fit + 0.5 * size", "loss = fit + 0 * size"))
    by_hand = arm(without)
    assert arm(SEGMENT, told(parse("without:size"))).first_gradient == by_hand.first_gradient
    refused = arm(SEGMENT, told(parse("without:variance"))).treatments["without:variance"]["refused"]
    assert "there is" in refused
    assert "size" in refused


def test_full_precision_and_a_constant_rate(arm: RunArm) -> None:
    mixed = edited(
        CLASSIFY,
        (
            "        out = net(x)\n",
            "        with torch.autocast('cpu', dtype=torch.bfloat16):\n            out = net(x)\n",
        ),
    )
    plain = arm(CLASSIFY)
    assert arm(mixed).weights != plain.weights
    assert arm(mixed, told(parse("full-precision"))).weights == plain.weights
    falling = edited(
        CLASSIFY,
        ("loader = DataLoader(", "plan = torch.optim.lr_scheduler.StepLR(opt, 1, 0.1)\nloader = DataLoader("),
        ("    with torch.no_grad():", "    plan.step()\n    with torch.no_grad():"),
    )
    assert arm(falling).weights != plain.weights
    assert arm(falling, told(parse("constant-rate"))).weights == plain.weights


# -- judged ----------------------------------------------------------------------------------------------------------


def test_suspects_get_verdicts_like_findings(forked: Path) -> None:
    line = line_of(SLOW, "opt = torch")
    helps = f"line train.py:{line} = opt = torch.optim.SGD(net.parameters(), lr=0.3)"
    innocent = f"line train.py:{line_of(SLOW, 'import random')} = import random, json"
    table = tried(forked, SLOW, helps, innocent, "without:variance")
    assert row(table, helps).verdict is Verdict.PROVEN
    assert row(table, innocent).verdict is Verdict.NO_EFFECT
    missing = row(table, "without:variance")
    assert missing.verdict is Verdict.INCONCLUSIVE
    assert "variance" in missing.note
    assert any(note.startswith("val acc was chosen") for note in table.notes)


def test_a_harmful_suspect_is_said_to_be_one(forked: Path) -> None:
    assert row(tried(forked, CLASSIFY, "lr /10000"), "lr /10000").verdict is Verdict.HARMFUL


def test_the_battery_finds_an_effect_without_a_finding(forked: Path) -> None:
    source = edited(CLASSIFY, ("lr=0.3", "lr=0.003"))
    table = tried(forked, source, battery=True)
    assert row(table, "lr x10").verdict is Verdict.PROVEN
    assert UNEXPLAINED in row(table, "lr x10").note
    assert not any(one.treatment == "no-clipping" for one in table.results)  # there is none to take out
    assert any(
        note.startswith(f"{UNEXPLAINED}: val acc gets better with learning rate times 10") for note in table.notes
    )
    assert any(note.startswith("another seed moves val acc by") for note in table.notes)
