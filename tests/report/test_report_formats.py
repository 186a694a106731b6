"""JSON, SARIF, Markdown and the terminal say the same as the diagnosis."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import sample_diagnosis

from traindx import report
from traindx.diagnosis import Diagnosis, Outcome
from traindx.errors import InputError
from traindx.finding import Effect, Finding, Location, Severity, Standing, Verdict, Worth
from traindx.report import diagnosis_json, html, markdown, sarif, terminal
from traindx.report.pictures import arrays_of
from traindx.report.printable import printable


def some(standing: Standing, severity: Severity, location: Location | None = None) -> Finding:
    return Finding(
        code="S501",
        name="sampler-does-not-invert",
        message="m",
        standing=standing,
        severity=severity,
        location=location,
    )


def log_of(*findings: Finding, **more: Any) -> dict[str, Any]:
    return sarif.log(Diagnosis(case="c", outcome=Outcome.FAULT_FOUND, findings=findings, **more))


def test_json_reads_back_as_the_same_diagnosis(sample: Diagnosis, directory: Path) -> None:
    path = report.write(sample, directory)["json"]
    assert diagnosis_json.load(path) == sample
    plain = json.loads(path.read_text(encoding="utf-8"))
    assert plain["schema_version"] == "1.1"
    first = plain["findings"][0]
    assert {"code", "standing", "severity", "location", "worth"} <= set(first)
    assert set(first["location"]) == {"file", "line", "symbol"}


def test_json_keeps_what_is_not_a_number(tmp_path: Path) -> None:
    effect = Effect(mean=1.0, low=float("nan"), high=float("inf"), n=1)
    worth = Worth(metric="psnr", alone=effect, verdict=Verdict.INCONCLUSIVE)
    finding = some(Standing.DEMONSTRATED, Severity.MAJOR).model_copy(update={"worth": worth})
    path = tmp_path / "d.json"
    path.write_text(diagnosis_json.render(Diagnosis(case="c", outcome=Outcome.FAULT_FOUND, findings=(finding,))))
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    read = diagnosis_json.load(path).findings[0].worth
    assert read is not None
    assert read.alone is not None
    assert str(read.alone.low) == "nan"
    assert read.alone.high == float("inf")


@pytest.mark.parametrize("text", ["", "{", '{"case": "c"}', '{"case": "c", "outcome": "at fault", "new_field": 1}'])
def test_what_is_no_diagnosis_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "diagnosis.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"diagnosis\.json is not a diagnosis"):
        diagnosis_json.load(path)
    with pytest.raises(InputError, match="cannot be read"):
        diagnosis_json.load(tmp_path / "none.json")


def test_sarif_has_the_structure_of_the_standard(sample: Diagnosis) -> None:
    text = sarif.render(sample, help_of=lambda code: f"page of {code}")
    log = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert log["version"] == "2.1.0"
    assert "sarif-2.1.0" in log["$schema"]
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert run["tool"]["driver"]["name"] == "traindx"
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert all(rule["help"]["text"] == f"page of {rule['id']}" for rule in rules)
    assert len(run["results"]) == len(sample.findings)
    for result, finding in zip(run["results"], sample.findings, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.code
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["kind"] in {"pass", "fail"}
        assert result["kind"] == "fail" or result["level"] == "none"  # section 3.27.9
        assert finding.message in result["message"]["text"]
        if finding.location is not None:
            physical = result["locations"][0]["physicalLocation"]
            assert physical["artifactLocation"]["uri"] == finding.location.file
            assert physical["region"]["startLine"] == finding.location.line


@pytest.mark.parametrize(
    ("standing", "severity", "level"),
    [
        (Standing.PROVEN, Severity.CRITICAL, "error"),
        (Standing.DEMONSTRATED, Severity.MAJOR, "error"),
        (Standing.DEMONSTRATED, Severity.MINOR, "warning"),
        (Standing.SUSPECTED, Severity.CRITICAL, "warning"),
        (Standing.PROVEN, Severity.NOTE, "note"),
        (Standing.REFUTED, Severity.CRITICAL, "none"),
    ],
)
def test_sarif_level_is_never_an_error_for_a_suspicion(standing: Standing, severity: Severity, level: str) -> None:
    assert log_of(some(standing, severity))["runs"][0]["results"][0]["level"] == level


@pytest.mark.parametrize(
    ("file", "line", "uri"),
    [("a b/ü.py", 3, "a%20b/%C3%BC.py"), ("/abs/x.py", 1, "file:///abs/x.py"), ("x.py", 0, "x.py")],
)
def test_sarif_locations_are_uris_and_lines_start_at_one(file: str, line: int, uri: str) -> None:
    found = some(Standing.PROVEN, Severity.MAJOR, Location(file=file, line=line))
    physical = log_of(found)["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"]["uri"] == uri
    assert physical.get("region") == ({"startLine": line} if line else None)


def test_sarif_of_a_worth_without_interval_is_json() -> None:
    effect = Effect(mean=1.0, low=float("nan"), high=float("nan"), n=1)
    worth = Worth(metric="psnr", alone=effect, verdict=Verdict.INCONCLUSIVE)
    finding = some(Standing.DEMONSTRATED, Severity.MAJOR).model_copy(
        update={"worth": worth, "numbers": {"a": float("inf"), "b": float("nan"), "c": 3}}
    )
    text = sarif.render(Diagnosis(case="c", outcome=Outcome.FAULT_FOUND, findings=(finding,)))
    properties = json.loads(text, parse_constant=pytest.fail)["runs"][0]["results"][0]["properties"]
    assert properties["worth"]["alone"]["low"] == "NaN"
    assert properties["numbers"] == {"a": "infinite", "b": "not a number", "c": 3}


def test_sarif_of_a_failure_says_so() -> None:
    run = log_of(errors=("case.py:3: it raised",))["runs"][0]
    assert run["invocations"][0]["executionSuccessful"] is False
    assert run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"] == "case.py:3: it raised"
    assert log_of()["runs"][0]["invocations"][0]["executionSuccessful"] is True


def test_markdown_shows_pictures_that_exist_and_the_guilty_line(sample: Diagnosis, directory: Path) -> None:
    text = markdown.render(sample, arrays_of(directory, sample), directory=directory, root=directory)
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert len(shown) == 3
    assert all((directory / name).read_bytes().startswith(b"\x89PNG") for name in shown)
    assert re.search(rf"^>\s+{sample_diagnosis.GUILTY_LINE}  .*interpolate", text, re.MULTILINE)
    assert "No effect, and how we know" in text
    assert text.count("hides the head's static") == 1
    assert "bit-identical" in text


def test_a_format_that_fails_costs_no_other(
    sample: Diagnosis, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> str:
        raise RuntimeError("no Markdown today")

    monkeypatch.setattr(markdown, "render", fails)
    with pytest.raises(RuntimeError, match="no Markdown today"):
        report.write(sample, directory)
    assert {path.suffix for path in directory.glob("[dr]*.*")} == {".json", ".html", ".sarif"}


def test_markdown_tables_keep_their_columns(sample: Diagnosis) -> None:
    lines = markdown.render(sample).splitlines()
    for index, line in enumerate(lines):
        if set(line) <= set("| -") and line.startswith("|"):
            columns = line.count("|")
            row = index - 1
            while row < len(lines) and lines[row].startswith("|"):
                assert len(re.findall(r"(?<!\\)\|", lines[row])) == columns
                row += 1


def test_terminal_fits_its_width_and_says_everything(sample: Diagnosis) -> None:
    for width in (80, 100, 140):
        text = terminal.text(sample, width=width)
        assert max(map(len, text.splitlines())) <= width
        flat = " ".join(text.split())
        assert "treating it improves psnr by 13.4 dB [12.0, 14.8]" in flat
        for finding in sample.findings:
            assert finding.code in flat
            assert finding.standing.value in flat
        assert "model.py:19" in flat
        assert "baseline: mean volume" in flat
        assert "Not examined" in flat
        assert flat.count("hides the head's static") == 1
    assert "\x1b" not in text


def test_terminal_takes_square_brackets_for_what_they_are() -> None:
    finding = some(Standing.DEMONSTRATED, Severity.MAJOR).model_copy(update={"message": "loss[term] is [bold]x[/bold]"})
    out = io.StringIO()
    terminal.render(Diagnosis(case="[red]c", outcome=Outcome.FAULT_FOUND, findings=(finding,)), file=out)
    assert "loss[term] is [bold]x[/bold]" in out.getvalue()
    assert "[red]c: fault found" in out.getvalue()


def test_markdown_text_cannot_become_html(sample: Diagnosis) -> None:
    text = markdown.render(sample)
    assert "the finest band &lt;but> & no more" in text
    assert "<but>" not in text
    assert "`torch.clamp(x0, -10, 10)`" in text


def test_what_a_script_said_cannot_move_the_readers_cursor() -> None:
    """Colours and titles of a message are taken out of every report but the JSON, which is data."""
    said = "\x1b[31mout of \x1b]0;title\x07memory\x1b[0m\x1b[2J\r\x08 in\tGB\x9b1m"
    finding = some(Standing.DEMONSTRATED, Severity.MAJOR).model_copy(update={"message": said})
    diagnosis = Diagnosis(case=f"{said}.py", outcome=Outcome.FAULT_FOUND, findings=(finding,), errors=(said,))
    for printed in (
        terminal.text(diagnosis),
        markdown.render(diagnosis),
        html.render(diagnosis),
        json.dumps(sarif.log(diagnosis), ensure_ascii=False),
    ):
        assert "out of memory in" in printed
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", printed)
    assert json.loads(diagnosis_json.render(diagnosis))["findings"][0]["message"] == said


def test_a_diagnosis_that_is_printable_is_handed_on_as_it_is(sample: Diagnosis) -> None:
    assert printable(sample) is sample
