"""``traindx fix`` as a user meets it: shown, applied, refused; and the finding is gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from traindx.cli.app import run
from traindx.diagnosis import Diagnosis, Outcome
from traindx.finding import Effect, Finding, Location, Severity, Standing, Verdict, Worth
from traindx.fix.report import SOURCES, fingerprint

CORPUS = Path(__file__).resolve().parents[1] / "scripts"
SOURCE = "import torch\nx = torch.zeros(3)\ny = torch.softmax(x, dim=0)  # probabilities\n"


def git(*arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository with a clean script and a report of two findings in it, one with a patch."""
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "train.py"
    script.write_text(SOURCE)
    git("init", "-q")
    git("add", "train.py")
    git("commit", "-qm", "first")
    findings = (
        Finding(
            code="L305", name="double-activation", message="softmax twice", severity=Severity.MAJOR,
            standing=Standing.DEMONSTRATED, location=Location(file="train.py", line=3), remedy="Give it the logits.",
        ),
        Finding(
            code="D101", name="modality-range-mismatch", message="CT is weak", severity=Severity.MAJOR,
            location=Location(file="train.py", line=2), remedy="Normalise each channel alike.",
        ),
    )  # fmt: skip
    report = Diagnosis(case="train.py", outcome=Outcome.FAULT_FOUND, findings=findings,
                       extras={SOURCES: {"train.py": fingerprint(script)}})  # fmt: skip
    out = tmp_path / "traindx-out" / "train"
    out.mkdir(parents=True)
    (out / "diagnosis.json").write_text(report.model_dump_json())
    return script


def test_findings_are_listed_with_numbers(project, capsys):
    assert run(["fix"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:2] == ["1", "L305"]
    assert "Take the activation out" in lines[1]
    assert lines[2].endswith("no safe patch")


def test_diff_is_shown_and_nothing_written(project, capsys):
    assert run(["fix", "1"]) == 0
    said = capsys.readouterr().out
    assert "-y = torch.softmax(x, dim=0)  # probabilities" in said
    assert "+y = x  # probabilities" in said
    assert "Nothing was written" in said
    assert project.read_text() == SOURCE


def test_applied_once_and_not_twice(project, capsys):
    assert run(["fix", "1", "--apply"]) == 0
    assert project.read_text() == SOURCE.replace("torch.softmax(x, dim=0)", "x")
    mode = project.stat().st_mode
    assert run(["fix", "1", "--apply", "--force"]) == 2
    assert "changed since it was examined" in capsys.readouterr().err
    assert project.stat().st_mode == mode


def test_a_fix_that_did_harm_is_not_written_without_force(project, capsys):
    path = Path("traindx-out/train/diagnosis.json")
    report = Diagnosis.model_validate_json(path.read_text())
    effect = Effect(mean=-0.2, low=-0.3, high=-0.1, n=3, differences=(-0.1, -0.2, -0.3))
    worth = Worth(metric="val acc", alone=effect, verdict=Verdict.HARMFUL)
    findings = (report.findings[0].model_copy(update={"worth": worth}), *report.findings[1:])
    path.write_text(report.model_copy(update={"findings": findings}).model_dump_json())
    assert run(["fix"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("(trial: harmful)")
    assert run(["fix", "1"]) == 0
    assert "Its trial: harmful: val acc -0.2 [-0.3, -0.1] (positive is better)." in capsys.readouterr().out
    assert run(["fix", "1", "--apply"]) == 2
    assert project.read_text() == SOURCE
    assert "did harm" in capsys.readouterr().err
    assert run(["fix", "1", "--apply", "--force"]) == 0
    assert project.read_text() != SOURCE


def test_a_finding_without_a_patch_shows_its_remedy(project, capsys):
    assert run(["fix", "2", "--apply"]) == 1
    said = capsys.readouterr().out
    assert "no safe patch" in said
    assert "Normalise each channel alike." in said
    assert project.read_text() == SOURCE


@pytest.mark.parametrize("number", ["0", "3"])
def test_no_such_finding(project, capsys, number):
    assert run(["fix", number]) == 2
    assert "1 to 2" in capsys.readouterr().err


def test_dirty_file_is_refused_without_force(project, capsys):
    """Staged is dirty too. The report knows the very bytes, so only git speaks here."""
    git("rm", "-q", "--cached", "train.py")
    git("commit", "-qm", "forget it")
    git("add", "train.py")
    assert run(["fix", "1", "--apply"]) == 2
    assert "not committed" in capsys.readouterr().err
    assert project.read_text() == SOURCE
    assert run(["fix", "1", "--apply", "--force"]) == 0
    assert project.read_text() != SOURCE


def test_untracked_file_is_refused_even_with_force(project, capsys):
    git("rm", "-q", "--cached", "train.py")
    git("commit", "-qm", "forget it")
    assert run(["fix", "1", "--apply", "--force"]) == 2
    assert "not tracked by git" in capsys.readouterr().err
    assert project.read_text() == SOURCE


def test_no_repository_at_all(project, capsys):
    shutil.rmtree(project.parent / ".git")
    assert run(["fix", "1", "--apply"]) == 2
    assert "not tracked by git" in capsys.readouterr().err


def test_a_file_that_changed_since_is_refused(project, capsys):
    project.write_text("# a new first line\n" + SOURCE)
    git("commit", "-qam", "second")
    assert run(["fix", "1"]) == 2
    assert "examine again" in capsys.readouterr().err


def sent(project, place, known):
    """A report that somebody sent: it names a file of its own choice."""
    found = Finding(code="L305", name="double-activation", message="softmax twice", severity=Severity.MAJOR,
                    location=Location(file=str(place), line=3))  # fmt: skip
    extras = {SOURCES: {str(place): fingerprint(Path(place))}} if known else {}
    report = Diagnosis(case="train.py", outcome=Outcome.FAULT_FOUND, findings=(found,), extras=extras)
    (project.parent / "traindx-out" / "train" / "diagnosis.json").write_text(report.model_dump_json())


@pytest.mark.parametrize("way", ["absolute", "upwards", "submodule", "link to a file", "link to a folder"])
def test_nothing_outside_this_repository_is_written(project, capsys, tmp_path_factory, way):
    """Neither by its path, nor through a link, nor in a repository within this one."""
    within = way == "submodule"
    other = project.parent / "sub" if within else tmp_path_factory.mktemp("other")
    other.mkdir(exist_ok=True)
    file = other / "train.py"
    file.write_text(SOURCE)
    for words in (["init", "-q"], ["add", "train.py"], ["commit", "-qm", "first"]):
        git("-C", str(other), *words)
    if way == "link to a file":
        place = project.parent / "linked.py"
        place.symlink_to(file)
    elif way == "link to a folder":
        (project.parent / "linked").symlink_to(other)
        place = project.parent / "linked" / "train.py"
    else:
        place = {"absolute": file, "upwards": os.path.relpath(file), "submodule": "sub/train.py"}[way]
    sent(project, place, known=True)
    assert run(["fix", "1", "--apply", "--force"]) == 2
    said = capsys.readouterr().err
    assert "outside the repository" in said or "symbolic link" in said
    assert file.read_text() == SOURCE


def test_nothing_is_written_without_the_fingerprint_of_what_was_examined(project, capsys):
    sent(project, "train.py", known=False)
    assert run(["fix", "1"]) == 0  # it may be looked at
    assert run(["fix", "1", "--apply"]) == 2
    assert "fingerprint" in capsys.readouterr().err
    assert project.read_text() == SOURCE


def test_without_a_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["fix", "1"]) == 2
    assert "no report" in capsys.readouterr().err
    assert run(["fix", "--from", "nowhere"]) == 2
    (tmp_path / "diagnosis.json").write_text("{}")
    assert run(["fix", "--from", "."]) == 2
    assert "not a diagnosis" in capsys.readouterr().err


def test_force_alone_and_apply_without_a_number(project, capsys):
    assert run(["fix", "1", "--force"]) == 2
    assert run(["fix", "--apply"]) == 2


# -- end to end ------------------------------------------------------------------------------------------------------


def examine(script: Path, out: Path) -> Diagnosis:
    from traindx.host.examining import examine_script

    with Path(os.devnull).open("w") as nowhere:
        return examine_script(str(script), out=out, script_output=nowhere.fileno())


@pytest.mark.parametrize(
    "slug",
    [
        "cls_softmax",
        *(
            pytest.param(slug, marks=pytest.mark.slow)
            for slug in (
                "gan_patches", "amp_clip", "box_regression", "regress_age", "landmarks", "focal_log", "synth_ct",
                "resnet_loop", "echo_ef", "split_and_save", "volume_infer", "deform_reg", "checkpointed_vit",
            )
        ),
    ],
)  # fmt: skip
def test_the_finding_is_gone_after_its_patch(slug, tmp_path, monkeypatch):
    entry = yaml.safe_load((CORPUS / "expected.yaml").read_text())[slug]
    shutil.copytree(CORPUS / slug / "faulty", tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path / "project")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    script = Path(entry["script"])
    before = examine(script, tmp_path / "before")
    number = next(i for i, found in enumerate(before.findings, start=1) if found.code in entry["codes"])
    assert run(["fix", str(number), "--apply", "--from", str(tmp_path / "before")]) == 0
    after = examine(script, tmp_path / "after")
    assert not after.errors
    assert not [found for found in after.findings if found.code in entry["codes"]]
