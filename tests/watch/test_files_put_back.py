"""What a run replaces is put back: at its end, and after a kill by the next call; what others changed is left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from traindx.host import restore
from traindx.host.restore import PENDING, put_back, recover, register
from traindx.watch.interventions.files import ARM, BACKUPS, JOURNAL, PROTECT

LONG_AGO = 1_600_000_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("best.pt", "log.csv", "gone.txt", "old.bin"):
        (tmp_path / name).write_text(f"three days of {name}")
        os.utime(tmp_path / name, (LONG_AGO, LONG_AGO))
    (tmp_path / "weights.pt").symlink_to("best.pt")
    (tmp_path / "out").mkdir()
    return tmp_path


CHANGES = """
    with open("best.pt", "w") as file:
        file.write("one epoch")
    with open("log.csv", "a") as file:
        file.write("a line")
    os.remove("gone.txt")
    os.rename("old.bin", "older.bin")
    with open("older.bin", "w") as file:
        file.write("written through its new name")
    os.remove("weights.pt")
    os.mkdir("made")
    with open("made/new.txt", "w") as file:
        file.write("new")
    with open("tmp.pt", "w") as file:
        file.write("two epochs")
    os.replace("tmp.pt", "best.pt")
"""


def changed(folder: Path, mode: str, body: str = CHANGES) -> None:
    """Let another process change files while it writes down what it does."""
    program = f"""
    import os, sys
    from pathlib import Path
    from traindx.watch.interventions.files import ResumeLog
    ResumeLog(Path("out"), {mode!r}).install()
    """
    text = textwrap.dedent(program) + textwrap.dedent(body)
    subprocess.run([sys.executable, "-c", text], check=True, cwd=folder)


def state(folder: Path) -> dict[str, str]:
    """Every file outside of the run's folder, with its content, or what it points to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.split("/", maxsplit=1)[0] in ("out", "traindx-out") or path.is_dir():
            continue
        found[name] = f"-> {os.readlink(path)}" if path.is_symlink() else path.read_text()
    return found


def test_an_arm_leaves_nothing(folder: Path) -> None:
    before = state(folder)
    changed(folder, ARM)
    assert state(folder) != before
    done = put_back(folder / "out")
    assert state(folder) == before
    assert (folder / "best.pt").stat().st_mtime == LONG_AGO
    assert not (folder / "made").exists()
    assert (done.lost, done.conflicts) == ([], {})
    assert list((folder / "out").iterdir()) == []
    assert put_back(folder / "out").lines() == []


def test_a_short_look_keeps_both(folder: Path) -> None:
    before = state(folder)
    changed(folder, PROTECT)
    done = put_back(folder / "out")
    after = state(folder)
    assert {name: after[name] for name in before} == before
    assert after["made/new.txt"] == "new"
    kept = {Path(path).name: Path(aside).read_text() for path, aside in done.kept.items()}
    assert kept["best.pt"] == "two epochs"
    assert kept["log.csv"] == "three days of log.csva line"
    assert "best.pt" in done.lines()[0]


def test_a_run_that_was_killed_is_put_back_by_the_next_call(folder: Path) -> None:
    before = state(folder)
    _killed(folder)
    assert (folder / "best.pt").read_text() == "two epochs"
    done = recover()
    assert state(folder) == before
    assert done.conflicts == {}
    assert Path(done.kept[str(folder / "best.pt")]).read_text() == "two epochs"
    assert not (folder / PENDING).exists()
    assert recover().lines() == []


def test_what_lies_in_a_revision_that_was_checked_out_for_a_comparison_is_not_missed(folder: Path) -> None:
    """The tree goes with the comparison that was killed, whichever of its notes is read first."""
    tree = folder / "traindx-compare-x" / "tree"
    tree.mkdir(parents=True)
    (tree / "old.pt").symlink_to(folder / "best.pt")  # not of the revision: linked into it
    _killed(folder, body="os.remove('traindx-compare-x/tree/old.pt')\nos.remove('gone.txt')")
    (note,) = (folder / PENDING).glob("*.json")
    fields = json.loads(note.read_text())
    for name in ("0-first.json", "z-last.json"):
        other = {**fields, "directory": str(folder / "runs"), "worktree": str(tree)}
        (folder / PENDING / name).write_text(json.dumps(other))
    done = recover()
    assert done.lost == []
    assert (folder / "gone.txt").read_text() == "three days of gone.txt"
    assert not tree.exists()


def test_what_somebody_changed_since_is_left_alone(folder: Path) -> None:
    _killed(folder, seconds_ago=60.0)
    (folder / "best.pt").write_text("another three days")
    (folder / "made" / "mine.txt").write_text("mine")
    done = recover()
    assert (folder / "best.pt").read_text() == "another three days"
    assert (folder / "best.pt.before-traindx").read_text() == "three days of best.pt"
    assert (folder / "made" / "mine.txt").read_text() == "mine"
    assert (folder / "gone.txt").read_text() == "three days of gone.txt"
    assert any("best.pt was changed after the run was killed" in line for line in done.lines())


def test_a_run_that_goes_on_is_left_alone(folder: Path) -> None:
    changed(folder, ARM)
    note = register(folder / "out")
    assert note is not None
    assert recover().lines() == []
    assert (folder / "best.pt").read_text() == "two epochs"
    put_back(folder / "out")
    assert not note.exists()


def test_putting_back_may_itself_be_killed_anywhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop before every single step of it, and let the next call begin anew."""
    before = state(folder)
    changed(folder, ARM)
    steps = 0
    one = restore._one

    class Killed(BaseException):
        pass

    for limit in range(1, 8):
        left = iter(range(limit))

        def stopping(*args: object, left: object = left) -> None:
            one(*args)  # type: ignore[arg-type]
            if next(left, None) is None:  # type: ignore[call-overload]
                raise Killed

        monkeypatch.setattr(restore, "_one", stopping)
        try:
            put_back(folder / "out")
        except Killed:
            steps += 1
    monkeypatch.setattr(restore, "_one", one)
    put_back(folder / "out")
    assert steps >= 3
    assert state(folder) == before


def test_two_processes_of_one_run_keep_the_first_content(folder: Path) -> None:
    join = "ResumeLog(Path('out'), 'arm').install(join=True)\n    with open('best.pt', 'w') as f: f.write('rank 1')"
    body = (
        CHANGES
        + f"""
    import subprocess
    subprocess.run([sys.executable, "-c", '''
    import os, sys
    from pathlib import Path
    from traindx.watch.interventions.files import ResumeLog
    {join}
    '''.replace("\\n    ", "\\n")], check=True)
    """
    )
    before = state(folder)
    changed(folder, ARM, body)
    assert (folder / "best.pt").read_text() == "rank 1"
    put_back(folder / "out")
    assert state(folder) == before


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_two_runs_at_once_leave_what_was_there_before_both(folder: Path, order: tuple[str, str]) -> None:
    """The second copies aside what the first one had written, and goes on writing when the first has ended."""
    write = 'open("best.pt", "w").write("one epoch of {}")\n'
    logs = {}
    for name in ("one", "two"):
        (folder / "out" / name).mkdir()
        restore.register(folder / "out" / name)
        logs[name] = folder / "out" / name
        program = f"""
from pathlib import Path
from traindx.watch.interventions.files import ResumeLog
ResumeLog(Path("out/{name}"), {PROTECT!r}, {str(PENDING)!r}).install()
"""
        subprocess.run([sys.executable, "-c", program + write.format(name)], check=True, cwd=folder)
    put_back(logs[order[0]])
    (folder / "best.pt").write_text("another epoch of the run that goes on")
    put_back(logs[order[1]])
    assert (folder / "best.pt").read_text() == "three days of best.pt"


SLOW_SECOND = f"""
import time
from pathlib import Path
from traindx.watch.interventions.files import ResumeLog
copied = ResumeLog._copied
def slowly(*args):
    kept = copied(*args)
    Path("copying").touch()
    time.sleep(1.0)  # the first run ends here, and puts back what was there before it
    return kept
ResumeLog._copied = slowly
ResumeLog(Path("out/two"), {PROTECT!r}, {str(PENDING)!r}).install()
with open("log.csv", "a") as file:
    file.write("of the second run")
"""


def test_a_run_that_begins_while_another_one_ends_does_not_keep_its_lines(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / "out" / name).mkdir()
        restore.register(folder / "out" / name)
    first = f"""
from pathlib import Path
from traindx.watch.interventions.files import ResumeLog
ResumeLog(Path("out/one"), {PROTECT!r}, {str(PENDING)!r}).install()
open("log.csv", "a").write("of the first run")
"""
    subprocess.run([sys.executable, "-c", first], check=True, cwd=folder)
    second = subprocess.Popen([sys.executable, "-c", SLOW_SECOND], cwd=folder)
    while not (folder / "copying").exists():
        assert second.poll() is None
        time.sleep(0.01)
    put_back(folder / "out/one")
    assert second.wait() == 0
    put_back(folder / "out/two")
    assert (folder / "log.csv").read_text() == "three days of log.csv"


def test_what_an_arm_made_is_not_what_the_next_one_found(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / "out" / name).mkdir()
        restore.register(folder / "out" / name)
        program = f"""
from pathlib import Path
from traindx.watch.interventions.files import ResumeLog
ResumeLog(Path("out/{name}"), {ARM!r}, {str(PENDING)!r}).install()
open("epoch.pt", "w").write("{name}")
"""
        subprocess.run([sys.executable, "-c", program], check=True, cwd=folder)
    put_back(folder / "out/one")
    put_back(folder / "out/two")
    assert not (folder / "epoch.pt").exists()


def test_two_threads_that_write_one_file_wait_for_its_copy(folder: Path) -> None:
    body = """
    import threading, time
    copied = ResumeLog._copied
    def slowly(*args):
        time.sleep(0.3)
        return copied(*args)
    ResumeLog._copied = slowly
    def write(text):
        with open("best.pt", "w") as file:
            file.write(text)
    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    """
    changed(folder, ARM, body)
    put_back(folder / "out")
    assert (folder / "best.pt").read_text() == "three days of best.pt"


def test_a_line_cut_short_is_no_change(folder: Path) -> None:
    changed(folder, ARM)
    with (folder / "out" / JOURNAL).open("a") as log:
        log.write('{"path": "/etc/pas')
    put_back(folder / "out")
    assert (folder / "best.pt").read_text() == "three days of best.pt"


def test_a_file_too_large_to_copy_is_named(folder: Path) -> None:
    body = """
    import traindx.watch.interventions.files as files
    files.ResumeLog._cloned = staticmethod(lambda path, copy: False)
    files.MOST_BYTES = 4
    """
    changed(folder, ARM, body + CHANGES)
    done = put_back(folder / "out")
    assert str(folder / "best.pt") in done.lost
    assert (folder / "gone.txt").read_text() == "three days of gone.txt"  # a second name costs nothing


def _killed(folder: Path, seconds_ago: float = 0.0, body: str = CHANGES) -> None:
    """A run whose parent was killed while it went on."""
    (folder / "out" / BACKUPS).mkdir(exist_ok=True)
    parent = subprocess.run(
        [
            sys.executable,
            "-c",
            "from pathlib import Path; from traindx.host import restore\n"
            "restore._guardian = lambda note: None  # it would put back before the test has looked\n"
            "restore.register(Path('out'))",
        ],
        check=True,
        cwd=folder,
    )
    assert parent.returncode == 0
    changed(folder, ARM, body)
    then = time.time() - seconds_ago
    (note,) = (folder / PENDING).glob("*.json")
    json.loads(note.read_text())
    for path in (note, folder / "out" / JOURNAL):
        os.utime(path, (then, then))
