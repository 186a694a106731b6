"""``traindx examine SCRIPT --prove`` and ``-m MODULE`` from the command line to the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from traindx.cli.app import run
from trials_script.conftest import edited, line_of
from trials_script.scripts_for_tests import CLASSIFY

# twice a softmax with a small rate: the second one flattens the gradient so much that little is learned in this time
DOUBLE = edited(CLASSIFY, ("out = net(x)", "out = torch.softmax(net(x), 1)"), ("lr=0.3", "lr=0.1"))


def test_examine_and_prove(forked: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (forked / "train.py").write_text(DOUBLE, encoding="utf-8")
    code = run(["examine", "train.py", "--prove", "--seeds", "2", "--out", "out", "--json"])
    printed = capfd.readouterr()
    diagnosis = json.loads(printed.out)
    assert code == 1
    finding = next(one for one in diagnosis["findings"] if one["code"] == "L305")
    assert finding["location"]["line"] == line_of(DOUBLE, "torch.softmax")
    assert finding["worth"]["metric"] == "val acc"
    assert diagnosis["trials"]["seeds"] == [0, 1]
    assert [arm["name"] for arm in diagnosis["trials"]["arms"]] == ["none", "all"]
    assert diagnosis == json.loads((forked / "out" / "diagnosis.json").read_text(encoding="utf-8"))
    page = (forked / "out" / "report.html").read_text(encoding="utf-8")
    assert "drop-activation" in page
    assert "traindx | trial seed 1: drop-activation" in printed.err


def test_a_module_with_its_own_arguments(forked: Path, capfd: pytest.CaptureFixture[str]) -> None:
    package = forked / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    checked = "import sys\n\nassert sys.argv[1:] == ['--epochs', '3'], sys.argv\n" + DOUBLE
    (package / "train.py").write_text(checked, encoding="utf-8")
    code = run(["examine", "-m", "mine.train", "--out", "out", "--prove", "--seeds", "1", "--", "--epochs", "3"])
    shown = capfd.readouterr().out
    assert code == 1
    assert f"mine/train.py:{line_of(checked, 'torch.softmax')}" in shown
    assert "one seed only" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["examine"], "nothing to examine"),
        (["examine", "recipe:xray2ct", "--metric", "psnr"], "--metric is for scripts"),
        (["examine", "train.py", "--prove", "--metric", "acc:sideways"], "no direction"),
        (["examine", "-m", "no_such_module"], "no module"),
        (["examine", "train.py", "--prove", "--budget", "soon"], "soon"),
    ],
)
def test_wrong_usage(forked: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    (forked / "train.py").write_text(DOUBLE, encoding="utf-8")
    assert run(arguments) == 2
    assert told in capsys.readouterr().err


def test_claims_about_a_script_are_tried_instead_of_what_is_found(
    forked: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    slow = edited(CLASSIFY, ("lr=0.3", "lr=1e-5"))
    (forked / "train.py").write_text(slow, encoding="utf-8")
    (forked / "claims.yaml").write_text(
        "source: a review\nscript: train.py\nclaims:\n"
        "  - {claim: the rate is too low, promised: it learns, suspect: lr x30000}\n"
        "  - {claim: a module is in the way, promised: '+0.2', suspect: 'line train.py:1 = import random as unused'}\n",
        encoding="utf-8",
    )
    code = run(["examine", "train.py", "--claims", "claims.yaml", "--out", "out", "--json"])
    diagnosis = json.loads(capfd.readouterr().out)
    assert {row["treatment"] for row in diagnosis["trials"]["results"]} == {
        "lr x30000",
        "line train.py:1 = import random as unused",
    }
    rows = (forked / "out" / "claims.md").read_text(encoding="utf-8").splitlines()[-2:]
    assert rows[0].startswith("| the rate is too low | it learns | +0.")
    assert "| proven |" in rows[0]
    assert rows[1].startswith("| a module is in the way | +0.2 | +0 ")
    assert "| no effect |" in rows[1]
    assert code in (0, 1), "every claim is settled"
