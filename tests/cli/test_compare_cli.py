"""``traindx compare`` on the command line: what the operands mean, exit codes, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from traindx.cli import compare as command
from traindx.cli.app import run
from traindx.cli.compare import kind_of
from traindx.cli.revisions import checked_out, git
from traindx.errors import UsageError
from traindx.trials.claims import Comparison, FixVerdict
from traindx.trials.script import comparing
from traindx.trials.script.comparing import ScriptComparison

TRAIN = """\
import sys
import torch
from helper import RATE

torch.manual_seed(0)
X = torch.randn(64, 4)
Y = (X[:, 0] > 0).long()
net = torch.nn.Linear(4, 2)
opt = torch.optim.SGD(net.parameters(), lr=RATE)
for step in range(40):
    loss = torch.nn.functional.cross_entropy(net(X), Y)
    opt.zero_grad()
    loss.backward()
    opt.step()
with torch.no_grad():
    print('val acc', (net(X).argmax(1) == Y).float().mean().item(), open('data/note.txt').read())
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits (slow and fast), an uncommitted change (faster), and ignored data."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("NAME", "A"), ("EMAIL", "a@example.org")):
        monkeypatch.setenv(f"GIT_AUTHOR_{name}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{name}", value)
    git(["init", "-q"])
    Path("train.py").write_text(TRAIN, encoding="utf-8")
    Path(".gitignore").write_text("data/\ntraindx-out/\n", encoding="utf-8")
    Path("data").mkdir()
    Path("data/note.txt").write_text("kept", encoding="utf-8")
    for text in ("RATE = 1e-9\n", "RATE = 0.5\n"):
        Path("helper.py").write_text(text, encoding="utf-8")
        git(["add", "."])
        git(["commit", "-q", "-m", text])
    Path("helper.py").write_text("RATE = 0.5 + 0.0\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replace the runs; returns what they were asked to do and what each version holds."""
    found: dict[str, Any] = {"verdict": FixVerdict.HELPS}

    def run_it(work: ScriptComparison) -> Comparison:
        found["work"] = work
        for side in ("before", "after"):
            version = getattr(work, side)
            folder = Path(version.settings.extras.get("directory", "."))
            found[side] = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.py")}
            found[f"{side} data"] = (folder / "data" / "note.txt").exists()
            found[f"{side} folder"] = folder
        if isinstance(found["verdict"], BaseException):
            raise found["verdict"]
        return Comparison(verdict=found["verdict"], sentence="because", metric="val acc")

    monkeypatch.setattr(comparing.ScriptComparison, "run", run_it)
    return found


def left_over(top: Path) -> list[str]:
    return [line for line in git(["worktree", "list", "--porcelain"], top).splitlines() if line.startswith("worktree")][
        1:
    ]


def test_revisions_and_the_working_tree(repository: Path, seen: dict[str, Any]) -> None:
    assert run(["compare", "--before", "HEAD~1", "--after", ".", "train.py", "--", "--epochs", "3"]) == 0
    assert seen["before"]["helper.py"] == "RATE = 1e-9\n"
    assert seen["after"]["helper.py"] == "RATE = 0.5 + 0.0\n", "the working tree counts with what is not committed"
    assert seen["before data"], "data that git does not know are there"
    assert seen["work"].before.settings.arguments == ("--epochs", "3")
    assert not seen["before folder"].exists()
    assert not left_over(repository)
    assert (repository / "data" / "note.txt").read_text(encoding="utf-8") == "kept"
    written = json.loads((repository / "traindx-out" / "compare" / "comparison.json").read_text(encoding="utf-8"))
    assert written["verdict"] == "helps"


def test_a_revision_does_not_include_what_is_not_committed(repository: Path, seen: dict[str, Any]) -> None:
    (repository / "stray.py").write_text("", encoding="utf-8")
    assert run(["compare", "--before", "HEAD~1", "--after", "HEAD", "train.py"]) == 0
    assert seen["after"]["helper.py"] == "RATE = 0.5\n"
    assert "stray.py" not in seen["after"]


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (FixVerdict.CURES, 0),
        (FixVerdict.HELPS, 0),
        (FixVerdict.NO_EFFECT, 1),
        (FixVerdict.HARMS, 1),
        (FixVerdict.BREAKS, 1),
        (FixVerdict.INCONCLUSIVE, 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(repository: Path, seen: dict[str, Any], verdict: Any, code: int) -> None:
    seen["verdict"] = verdict
    assert run(["compare", "--before", "HEAD~1", "--after", "HEAD", "train.py"]) == code
    assert not left_over(repository)
    assert not seen["before folder"].exists()


def test_worktrees_are_removed_after_a_failure(repository: Path) -> None:
    folders = []

    def fail() -> None:
        with checked_out("HEAD~1") as checkout:
            assert (checkout.folder / "train.py").exists()
            folders.append(checkout.root)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not left_over(repository)
    assert not folders[0].exists()
    assert (repository / "data" / "note.txt").exists(), "what was linked is not removed with the link"


def test_code_of_the_working_tree_that_strays_in_is_told(repository: Path) -> None:
    with checked_out("HEAD~1") as checkout:
        own, strayed = str(checkout.root / "helper.py"), str(repository.resolve() / "helper.py")
        assert checkout.foreign([own]) == ""
        assert "helper.py was imported from the working tree" in checkout.foreign([own, strayed])
        assert checkout.foreign([str(repository.resolve() / "data" / "x.py")]) == "", "it was linked on purpose"


def test_configurations_take_the_place_of_braces(repository: Path, seen: dict[str, Any]) -> None:
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text("rate: 1", encoding="utf-8")
    assert run(["compare", "--before", "a.yaml", "--after", "b.yaml", "train.py", "--", "--config={}", "-v"]) == 0
    assert seen["work"].before.settings.arguments == ("--config=a.yaml", "-v")
    assert seen["work"].after.settings.arguments == ("--config=b.yaml", "-v")


def test_two_scripts_share_their_arguments(repository: Path, seen: dict[str, Any]) -> None:
    Path("other.py").write_text(TRAIN, encoding="utf-8")
    assert run(["compare", "--before", "train.py", "--after", "other.py", "--", "--epochs", "3"]) == 0
    assert [version.settings.target for version in (seen["work"].before, seen["work"].after)] == [
        "train.py",
        "other.py",
    ]
    assert seen["work"].after.settings.arguments == ("--epochs", "3")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--before", "HEAD~1", "--after", "HEAD"], "no script"),
        (["--before", "HEAD~1", "--after", "HEAD", "gone.py"], "no gone.py"),
        (["--before", "HEAD~1", "--after", "train.py", "train.py"], "of one kind"),
        (["--before", "HEAD~99", "--after", "HEAD", "train.py"], "neither a file or folder"),
        (["--before", "a.yaml", "--after", "a.yaml", "train.py", "--", "--lr", "1"], "where the configuration goes"),
        (["--before", "c.py:case", "--after", "c.py:case", "train.py"], "two cases take no script"),
        (["--before", "HEAD~1", "--after", "HEAD", "train.py", "--metric", "x:up-ish"], "no direction"),
        (["--before", "HEAD~1", "--after", "HEAD", "train.py", "--budget", "0s"], "no time"),
    ],
)
def test_wrong_usage(repository: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    Path("a.yaml").write_text("", encoding="utf-8")
    assert run(["compare", *arguments]) == 2
    assert told in capsys.readouterr().err
    assert not left_over(repository)


def test_kinds(repository: Path) -> None:
    assert kind_of("recipe:xray2ct", "case.py:case") == "cases"
    assert kind_of("HEAD", ".") == "trees"
    with pytest.raises(UsageError):
        kind_of("HEAD", "train.py")


def test_json_alone_on_stdout(repository: Path, seen: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "--before", "HEAD~1", "--after", "HEAD", "train.py", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["sentence"] == "because"


def test_two_cases(repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import traindx.trials.compare as cases

    text = "import traindx as dx\n\n\ndef make(name):\n    return dx.Case(model=lambda: None, train=[1], name=name)\n"
    Path("both.py").write_text(f"{text}\n\na, b = make('a'), make('b')\n", encoding="utf-8")
    names: list[str] = []

    def judge(before: Any, after: Any, **_: Any) -> Comparison:
        names.extend((before.name, after.name))
        return Comparison(
            verdict=FixVerdict.HARMS, sentence="worse", metric="psnr", before=(1.0,), after=(0.5,), seeds=(0,)
        )

    monkeypatch.setattr(cases, "compare", judge)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert run(["compare", "--before", "both.py:a", "--after", "both.py:b"]) == 1
    assert names == ["a", "b"]
    shown = capsys.readouterr().out
    assert "harms" in shown
    assert "worse" in shown


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_leaves_neither_worktree_nor_process(repository: Path, number: signal.Signals) -> None:
    endless = "import time\n\nprint('begun', flush=True)\ntime.sleep(600)\n"
    Path("train.py").write_text(endless, encoding="utf-8")
    git(["commit", "-q", "-am", "endless"])
    mark = f"compare-test-{os.getpid()}-{number}"
    arguments = [
        "compare",
        "--before",
        "HEAD",
        "--after",
        ".",
        "train.py",
        "--steps",
        "0",
        "--until",
        "0s",
        "--budget",
        "5m",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "traindx", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COMPARE_TEST": mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    output = repository / "traindx-out" / "compare" / "before-0" / "output.txt"
    deadline = time.monotonic() + 60
    while not (output.exists() and "begun" in output.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "begun" in output.read_text()
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "inconclusive" in out
    assert not left_over(repository)
    marked = [path for path in Path("/proc").glob("[0-9]*/environ") if _holds(path, mark)]
    assert not marked
    assert command.exit_code(Comparison(verdict=FixVerdict.INCONCLUSIVE, sentence="", metric="")) == 3


def _holds(path: Path, mark: str) -> bool:
    try:
        return mark.encode() in path.read_bytes()
    except OSError:
        return False
