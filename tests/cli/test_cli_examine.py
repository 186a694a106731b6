"""``traindx examine``: exit codes, what is written whatever happens, and what is printed where."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from traindx import __version__, examination
from traindx.cli.app import run
from traindx.diagnosis import Diagnosis, Outcome
from traindx.errors import CaseError, InputError
from traindx.evidence import Evidence, InOrder, Picture
from traindx.finding import Finding, Severity, Standing

CASE = "import traindx as dx\ncase = dx.Case(model=lambda: None, train=[1], name='mine')\n"
TARGET = "my_case.py:case"


def finding(standing: Standing) -> Finding:
    return Finding(code="S501", name="sampler-does-not-invert", message="m", severity=Severity.MAJOR, standing=standing)


def outcome(kind: str) -> Diagnosis:
    found = {"healthy": (), "suspected": (finding(Standing.SUSPECTED),), "guilty": (finding(Standing.DEMONSTRATED),)}
    verdict = {"guilty": Outcome.FAULT_FOUND, "nothing": Outcome.NOT_ENOUGH_SEEN}.get(kind, Outcome.NOTHING_FOUND)
    return Diagnosis(case="mine", outcome=verdict, findings=found.get(kind, ()))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_case.py").write_text(CASE, encoding="utf-8")
    return tmp_path


Stub = Callable[[Callable[..., Diagnosis]], dict[str, Any]]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Replace the examination by a function; returns the arguments it is called with."""

    def put(function: Callable[..., Diagnosis]) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        def examine(case: Any, **arguments: Any) -> Diagnosis:
            seen.update(arguments, case=case)
            return function(**arguments)

        monkeypatch.setattr(examination, "examine", examine)
        return seen

    return put


@pytest.mark.parametrize(("kind", "code"), [("healthy", 0), ("suspected", 0), ("guilty", 1), ("nothing", 3)])
def test_exit_codes(here: Path, stub: Stub, kind: str, code: int) -> None:
    stub(lambda **_: outcome(kind))
    assert run(["examine", TARGET]) == code
    written = {path.name for path in (here / "traindx-out" / "my_case").iterdir()}
    assert written == {"report.html", "report.md", "diagnosis.json", "diagnosis.sarif"}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["examine"],
        ["examine", "gone.py:case"],
        ["examine", TARGET, "--budget", "soon"],
        ["examine", TARGET, "--seeds", "0"],
        ["examine", TARGET, "--seeds", "many"],
        ["examine", TARGET, "--select", "Q999"],
        ["examine", TARGET, "--ignore", "Q999"],
        ["examine", TARGET, "--no-such-option"],
        ["examine", TARGET, "--fault", "any"],
        ["examine", TARGET, "--out", "my_case.py"],
        ["examine", "my_case.py:nothing"],
        ["examine", "recipe:no-such-recipe"],
        ["no-such-command"],
        ["explain", "Q999"],
    ],
)
def test_wrong_usage_and_input_is_two(
    here: Path, stub: Stub, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    stub(lambda **_: outcome("healthy"))
    assert run(arguments) == 2
    if arguments:  # without any, the help is printed
        assert capsys.readouterr().err


def test_what_is_asked_for_arrives(here: Path, stub: Stub) -> None:
    seen = stub(lambda **_: outcome("healthy"))
    run(["examine", TARGET, "--budget", "0s", "--seeds", "2", "--out", "here", "--device", "cuda:7"])
    assert seen["budget"] == "0s"
    assert seen["seeds"] == (0, 1)
    assert seen["out"] == Path("here")
    assert seen["case"].device == "cuda:7"
    assert seen["command"] == "traindx examine my_case.py:case --budget 0s --seeds 2 --out here --device cuda:7"
    assert seen["reference"].build().name == "mine"
    assert seen["reference"].build().device == "cuda:7"
    assert seen["reference"].arguments["target"] == f"{here / 'my_case.py'}:case"
    assert seen["select"] is None


def test_configuration_beside_the_case_holds_and_the_command_line_is_stronger(here: Path, stub: Stub) -> None:
    project = here / "project"
    project.mkdir()
    (project / "my_case.py").write_text(CASE, encoding="utf-8")
    (project / "pyproject.toml").write_text('[tool.traindx]\nbudget = "7s"\nseeds = 5\n', encoding="utf-8")
    seen = stub(lambda **_: outcome("healthy"))
    run(["examine", "project/my_case.py:case"])
    assert (seen["budget"], seen["seeds"]) == ("7s", (0, 1, 2, 3, 4))
    run(["examine", "project/my_case.py:case", "--budget", "1s", "--seeds", "1"])
    assert (seen["budget"], seen["seeds"]) == ("1s", (0,))


def test_a_configuration_that_is_wrong_is_two(here: Path, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub(lambda **_: outcome("healthy"))
    (here / "pyproject.toml").write_text("[tool.traindx]\nsedes = 5\n", encoding="utf-8")
    assert run(["examine", TARGET]) == 2
    assert "tool.traindx.sedes" in capsys.readouterr().err


def test_json_is_the_diagnosis_and_nothing_else(here: Path, stub: Stub, capfd: pytest.CaptureFixture[str]) -> None:
    def chatty(**_: Any) -> Diagnosis:
        print("a print of the user")
        os.write(1, b"a write of a library\n")
        subprocess.run([sys.executable, "-c", "print('a print of a worker')"], check=True)
        return outcome("guilty")

    stub(chatty)
    assert run(["examine", TARGET, "--json"]) == 1
    out, err = capfd.readouterr()
    assert Diagnosis.model_validate_json(out) == outcome("guilty")
    for line in ("a print of the user", "a write of a library", "a print of a worker"):
        assert line in err


def test_the_report_is_on_stdout_and_the_rest_on_stderr(
    here: Path, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    stub(lambda **_: outcome("guilty"))
    run(["examine", TARGET])
    out, err = capsys.readouterr()
    assert "S501 Sampler does not invert  demonstrated" in out
    assert "report.html" in err
    assert "report.html" not in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CASE + "raise ValueError('bad path')\n", ("my_case.py:3", "ValueError: bad path")),
        ("def case(:\n", ("my_case.py:1", "SyntaxError")),
        (
            "from traindx.errors import InputError\n\ndef case():\n    raise InputError('ct.nii is cut short')\n",
            ("ct.nii",),
        ),
    ],
)
@pytest.mark.parametrize("json_too", [False, True])
def test_a_case_that_fails_still_gets_a_report(
    here: Path, text: str, words: tuple[str, ...], json_too: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "my_case.py").write_text(text, encoding="utf-8")
    code = run(["examine", TARGET, "--out", "kept", *(["--json"] if json_too else [])])
    out, err = capsys.readouterr()
    assert code == (2 if "InputError" in text else 3)
    page = (here / "kept" / "report.html").read_text(encoding="utf-8")
    for word in words:
        assert word in err
        assert word in page
    assert "not enough seen" in page
    if json_too:
        assert json.loads(out)["outcome"] == "not enough seen"
        assert words[0] in json.loads(out)["errors"][0]


def half_way(error: BaseException) -> Callable[..., Diagnosis]:
    """An examination that gathers something and then fails."""

    def examine(*, out: Path, **_: Any) -> Diagnosis:
        evidence = Evidence(out)
        evidence.add(InOrder(subject="schedule", detail="decreasing"))
        evidence.add_picture(Picture(name="p", caption="what was seen so far"), np.eye(4))
        raise error

    return examine


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ZeroDivisionError("in the middle"), 3, "ZeroDivisionError: in the middle"),
        (CaseError("the loader ended early", where="data.py:12"), 3, "data.py:12: the loader ended early"),
        (InputError("an unreadable CT"), 2, "an unreadable CT"),
        (KeyboardInterrupt(), 130, "interrupted by the user"),
    ],
)
def test_what_was_gathered_before_a_failure_is_kept_and_reported(
    here: Path, stub: Stub, error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stub(half_way(error))
    assert run(["examine", TARGET, "--out", "kept"]) == code
    kept = Diagnosis.model_validate_json((here / "kept" / "diagnosis.json").read_text(encoding="utf-8"))
    assert kept.case == "mine"
    assert kept.outcome is Outcome.NOT_ENOUGH_SEEN
    assert words in kept.errors[0]
    assert [item.subject for item in kept.healthy] == ["schedule"]
    assert kept.not_examined[-1].subject == "everything after the failure"
    page = (here / "kept" / "report.html").read_text(encoding="utf-8")
    assert "what was seen so far" in page
    assert "data:image/png;base64," in page
    assert (here / "kept" / "evidence.jsonl").exists()
    assert __version__ == kept.provenance.traindx
    err = capsys.readouterr().err
    assert "kept" in err if code == 130 else words.partition(":")[0] in err


def test_an_unexpected_error_names_the_users_line_and_the_traceback_file(
    here: Path, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    stub(half_way(ZeroDivisionError("in the middle")))
    run(["examine", TARGET, "--out", "kept"])
    err = capsys.readouterr().err
    assert "test_cli_examine.py:" in err
    assert "Traceback" not in err
    traceback = here / "kept" / "traceback.txt"
    assert str(traceback.relative_to(here)) in err
    assert "ZeroDivisionError: in the middle" in traceback.read_text(encoding="utf-8")


def test_what_an_examination_wrote_on_its_way_out_is_preferred(here: Path, stub: Stub) -> None:
    def interrupted(*, out: Path, **_: Any) -> Diagnosis:
        (out / "diagnosis.json").write_text(outcome("guilty").model_dump_json(), encoding="utf-8")
        raise KeyboardInterrupt

    stub(interrupted)
    assert run(["examine", TARGET, "--out", "kept"]) == 130
    kept = Diagnosis.model_validate_json((here / "kept" / "diagnosis.json").read_text(encoding="utf-8"))
    assert kept.outcome is Outcome.FAULT_FOUND
    assert [item.code for item in kept.findings] == ["S501"]


def test_evidence_is_judged_where_the_examination_had_not_come_to_it(here: Path, stub: Stub) -> None:
    gather = half_way(RuntimeError("in the middle"))

    def examine(*, out: Path, **arguments: Any) -> Diagnosis:
        (out / "diagnosis.json").write_text(outcome("nothing").model_dump_json(), encoding="utf-8")
        return gather(out=out, **arguments)

    stub(examine)
    assert run(["examine", TARGET, "--out", "kept"]) == 3
    kept = Diagnosis.model_validate_json((here / "kept" / "diagnosis.json").read_text(encoding="utf-8"))
    assert [item.subject for item in kept.healthy] == ["schedule"]


def test_an_earlier_conclusion_is_never_taken_for_this_run(here: Path, stub: Stub) -> None:
    stub(lambda **_: outcome("guilty"))
    run(["examine", TARGET, "--out", "kept"])

    def fails(**_: Any) -> Diagnosis:
        raise RuntimeError("at once")

    stub(fails)
    assert run(["examine", TARGET, "--out", "kept"]) == 3
    kept = Diagnosis.model_validate_json((here / "kept" / "diagnosis.json").read_text(encoding="utf-8"))
    assert kept.findings == ()


def test_a_report_that_cannot_be_written_is_told_and_the_rest_is_shown(
    here: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from traindx.report import markdown

    def fails(*_: Any, **__: Any) -> str:
        raise RuntimeError("no Markdown today")

    monkeypatch.setattr(markdown, "render", fails)
    stub(lambda **_: outcome("guilty"))
    assert run(["examine", TARGET, "--out", "kept"]) == 3
    out, err = capsys.readouterr()
    assert "Sampler does not invert" in out
    assert "no Markdown today" in err
    assert (here / "kept" / "report.html").exists()


GREEK = """
import traindx as dx
raise ValueError("ε̂ is wrong")
"""


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_terminal_that_knows_ascii_only(here: Path, arguments: list[str]) -> None:
    (here / "my_case.py").write_text(GREEK, encoding="utf-8")
    command = [sys.executable, "-m", "traindx", "examine", TARGET, *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 3
    assert "stopped by an error" not in done.stderr
    assert "is wrong" in done.stderr
    if arguments:
        assert "ε̂ is wrong" in json.loads(done.stdout)["errors"][0]
    else:
        assert "is wrong" in done.stdout


SLEEPS = """
import time
import traindx as dx

def loss(model, batch):
    print("started", flush=True)
    time.sleep(60)

case = dx.Case(model=lambda: __import__("torch").nn.Linear(1, 1), train=[1], loss=loss, name="slow")
"""


def test_ctrl_c_ends_with_130_and_a_report(here: Path) -> None:
    (here / "my_case.py").write_text(SLEEPS, encoding="utf-8")
    command = [sys.executable, "-m", "traindx", "examine", TARGET, "--out", "kept"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "started\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "kept in kept" in err
    assert "Traceback" not in err
    assert (here / "kept" / "report.html").exists()
    assert "not enough seen" in out
