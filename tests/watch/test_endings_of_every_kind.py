"""What the end of a run is called: a window that ends in a slow step, signals to the parent, exits that run nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from traindx.evidence.observed import Ending, IterationsSeen, NetworkCalls
from traindx.host.runner import Patience

SHORT = Patience(first_step=60.0, progress=60.0, ending=0.5, interrupt=5.0, terminate=0.5)

LOOP = """
import os, sys, time
import torch
from torch import nn

def loop(count):
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(count):
        x = torch.randn(8, 4)
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield step
"""


def script(body: str) -> str:
    return LOOP + textwrap.dedent(body)


def test_a_slow_step_at_the_end_of_the_window_is_no_interruption(watch):
    seen = watch(
        script("""
        for step in loop(100):
            if step == 4:
                time.sleep(60)
        """),
        seconds=0.5,
        patience=SHORT,
    )
    assert seen.run.ending is Ending.STOPPED
    assert seen.run.window_ended
    assert seen.diagnosis.errors == ()


def test_os_exit_counts_every_iteration(watch):
    seen = watch(script("for step in loop(50):\n    if step == 12:\n        os._exit(3)\n"))
    assert (seen.run.ending, seen.run.exit_code) == (Ending.EXITED, 3)
    assert seen.one(IterationsSeen).iterations == 13


def test_the_scripts_own_excepthook_is_called(watch):
    seen = watch(
        script("""
        def mine(kind, value, traceback):
            print("MINE", kind.__name__, value, traceback.tb_lineno)
        sys.excepthook = mine
        next(loop(1))
        raise ValueError("no mask")
        """)
    )
    line = next(n for n, text in enumerate((seen.folder / "train.py").read_text().splitlines(), 1) if "no mask" in text)
    assert f"MINE ValueError no mask {line}".encode() in seen.stdout
    assert (seen.run.ending, seen.run.exit_code) == (Ending.CRASHED, 1)


def test_an_error_of_a_loaders_worker_is_shown_at_its_own_line(watch):
    seen = watch(
        script("""
        class Data(torch.utils.data.Dataset):
            def __len__(self):
                return 8
            def __getitem__(self, index):
                return {}["spacing"]
        next(loop(1))
        for batch in torch.utils.data.DataLoader(Data(), num_workers=1):
            pass
        """)
    )
    assert seen.run.ending is Ending.CRASHED
    assert seen.run.message == "KeyError: 'spacing' (in a worker of a DataLoader)"
    assert seen.run.where.symbol == "__getitem__"
    assert Path(seen.run.where.file).read_text().splitlines()[seen.run.where.line - 1].strip() == 'return {}["spacing"]'


def test_a_working_directory_that_is_gone_blinds_nothing(watch):
    seen = watch(
        script("""
        import tempfile
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        for step in loop(12):
            if step == 1:  # (torch itself must have one when it makes its first optimiser)
                os.rmdir(folder)
        """)
    )
    assert seen.run.ending is Ending.FINISHED
    assert seen.one(IterationsSeen).iterations == 12
    assert [note for note in seen.diagnosis.not_examined if note.subject.startswith("watching of")] == []
    assert {Path(call.where.file).name for call in seen.of(NetworkCalls)} == {"train.py"}


def test_what_was_left_behind_is_named(watch):
    seen = watch(
        script("""
        import subprocess
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
        for step in loop(4):
            pass
        """)
    )
    assert seen.run.orphans == 1
    assert "time.sleep(1000)" in seen.run.left_behind[0]


TRAINS_ON = script("""
    import pathlib, signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pathlib.Path("best.pt").write_text("one epoch")
    for step in loop(10**9):
        pathlib.Path("going.txt").write_text(str(step))
        time.sleep(0.01)
""")


@pytest.fixture
def running(tmp_path: Path):
    """``traindx examine`` of a script that is deaf to SIGTERM and has overwritten a checkpoint."""
    if sys.platform != "linux":
        pytest.skip("looks for processes in /proc")
    (tmp_path / "train.py").write_text(TRAINS_ON)
    (tmp_path / "best.pt").write_text("three days")
    command = [sys.executable, "-m", "traindx", "examine", "train.py", "--steps", "0", "--until", "0s"]
    environment = {**os.environ, "TRAINDX_TEST_ENDING": str(tmp_path)}
    child = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 300
    while not (tmp_path / "going.txt").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert (tmp_path / "best.pt").read_text() == "one epoch"
    yield child, tmp_path
    child.kill()
    child.wait()


def left(folder: Path) -> list[int]:
    mark = f"TRAINDX_TEST_ENDING={folder}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if mark in (entry / "environ").read_bytes() and state not in "ZX":
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def until_put_back(folder: Path) -> None:
    end = time.monotonic() + 300
    while ((folder / "traindx-out" / ".pending").exists() or left(folder)) and time.monotonic() < end:
        time.sleep(0.1)


def test_sigterm_of_the_parent_writes_the_report(running):
    child, folder = running
    child.terminate()
    _, errors = child.communicate(timeout=300)
    assert child.returncode == 128 + signal.SIGTERM
    diagnosis = json.loads((folder / "traindx-out" / "train" / "diagnosis.json").read_text())
    assert diagnosis["errors"][0] == "ended by SIGTERM"
    assert "ended by SIGTERM" in errors
    assert (folder / "best.pt").read_text() == "three days"
    assert (folder / "traindx-out" / "train" / "replaced" / "best.pt").read_text() == "one epoch"
    assert left(folder) == []


def test_a_killed_parent_takes_a_deaf_script_with_it_and_the_files_come_back(running):
    child, folder = running
    child.kill()
    child.wait()
    until_put_back(folder)
    assert left(folder) == []
    assert (folder / "best.pt").read_text() == "three days"
    assert (folder / "traindx-out" / "train" / "replaced" / "best.pt").read_text() == "one epoch"


def test_without_protection_the_run_is_as_without_us(tmp_path: Path):
    (tmp_path / "train.py").write_text("open('best.pt', 'w').write('one epoch')\n")
    (tmp_path / "best.pt").write_text("three days")
    command = [sys.executable, "-m", "traindx", "examine", "train.py"]
    for options, content in (((), "three days"), (("--no-protect",), "one epoch")):
        done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (tmp_path / "best.pt").read_text() == content
        assert ("put back as before the run: best.pt" in done.stderr) == (content == "three days")
