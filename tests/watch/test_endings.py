"""However a script ends, the report is clear, the exit code right, and no process of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from traindx.diagnosis import Outcome
from traindx.evidence.observed import Ending, IterationsSeen
from traindx.host.runner import Patience

PROBE = "TRAINDX_TEST_PROBE"  # every process of a test inherits it, however it detaches itself
SHORT = Patience(first_step=60.0, progress=1.0, ending=1.0, interrupt=1.0, terminate=0.5)

STEPS = """
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


def alive(mark: str) -> list[int]:
    """Processes other than this one that carry a mark in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if mark.encode() in (entry / "environ").read_bytes() and state not in "ZX":
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


@pytest.fixture(autouse=True)
def probe(monkeypatch, tmp_path):
    """Nothing that a test started is alive when it ends."""
    if sys.platform != "linux":
        pytest.skip("looks for processes in /proc")
    mark = f"{PROBE}={tmp_path}"
    monkeypatch.setenv(PROBE, str(tmp_path))
    yield mark
    end = time.monotonic() + 60
    while alive(mark) and time.monotonic() < end:
        time.sleep(0.05)
    assert alive(mark) == []


def script(body: str) -> str:
    return textwrap.dedent(STEPS) + textwrap.dedent(body)


def test_crash(watch):
    seen = watch(
        script("""
        for step in loop(50):
            if step == 4:
                {}["spacing"]
        """)
    )
    assert seen.run.ending is Ending.CRASHED
    assert seen.run.exit_code == 1
    assert seen.run.message == "KeyError: 'spacing'"
    assert linetext(seen, seen.run.where) == '{}["spacing"]'
    assert seen.one(IterationsSeen).iterations == 5
    assert seen.diagnosis.outcome is Outcome.NOT_ENOUGH_SEEN
    assert "train.py:" in seen.diagnosis.errors[0]
    assert "KeyError" in seen.diagnosis.errors[0]


def test_colours_of_a_message_stay_in_the_terminal(watch):
    seen = watch(
        script(r"""
        for step in loop(50):
            if step == 4:
                raise ValueError("\x1b[31mspacing\x1b[0m is \x1b[1;4m0\x1b[0m")
        """)
    )
    assert seen.run.message == "ValueError: spacing is 0"


def test_crash_inside_a_library_names_the_users_line(watch):
    seen = watch(script("next(loop(1))\ntorch.zeros(3) + torch.zeros(4)\n"))
    assert seen.run.ending is Ending.CRASHED
    assert linetext(seen, seen.run.where) == "torch.zeros(3) + torch.zeros(4)"


def test_syntax_error(watch):
    seen = watch("x = 1\nif x\n    pass\n")
    assert seen.run.ending is Ending.CRASHED
    assert seen.run.where is not None
    assert seen.run.where.line == 2
    assert seen.diagnosis.outcome is Outcome.NOT_ENOUGH_SEEN


class UntilItIsStuck(Patience):
    """No patience with the first step once a file says that the script is stuck, and all of it before."""

    mark: Path

    def __getattribute__(self, name):
        if name == "first_step":
            return 0.0 if type(self).mark.exists() else float("inf")
        return super().__getattribute__(name)


def test_hangs_before_the_first_step(watch, tmp_path):
    UntilItIsStuck.mark = tmp_path / "stuck"
    seen = watch(
        f"""
        import pathlib, sys, threading, time
        lock = threading.Lock()
        lock.acquire()
        def stuck():
            lock.acquire()
        def tell(main):
            while sys._current_frames()[main].f_code.co_name != "stuck":
                time.sleep(0.01)
            pathlib.Path({str(UntilItIsStuck.mark)!r}).touch()
        threading.Thread(target=tell, args=(threading.get_ident(),), daemon=True).start()
        stuck()
        """,
        patience=UntilItIsStuck(**vars(SHORT)),
    )
    assert seen.run.ending is Ending.HUNG
    assert linetext(seen, seen.run.where) == "lock.acquire()"
    assert seen.run.where.symbol == "stuck"
    assert seen.diagnosis.outcome is Outcome.NOT_ENOUGH_SEEN
    assert "no progress" in seen.diagnosis.errors[0]


@pytest.mark.slow
def test_hangs_deaf_to_signals_in_the_middle(watch):
    seen = watch(
        script("""
        import signal, time
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for step in loop(50):
            if step == 5:
                time.sleep(1000)
        """),
        patience=SHORT,
        seconds=1.0,
    )
    assert seen.run.ending is Ending.HUNG
    assert seen.run.signals == ("SIGINT", "SIGTERM", "SIGKILL")
    assert linetext(seen, seen.run.where) == "time.sleep(1000)"
    assert seen.one(IterationsSeen).iterations >= 2  # the snapshot that was written on the way


def test_window_ends_cleanly(watch):
    seen = watch(
        script("""
        import atexit, pathlib, sys, threading
        folder = pathlib.Path(__file__).parent
        (folder / "precious.txt").write_text("as it was")
        atexit.register(lambda: (folder / "atexit.txt").write_text("ran"))
        try:
            with open(folder / "log.csv", "w") as log:
                for step in loop(100000):
                    log.write(f"{step}\\n")
        finally:
            (folder / "finally.txt").write_text("ran")
        (folder / "after.txt").write_text("must not be reached")
        """),
        steps=20,
    )
    assert seen.run.ending is Ending.STOPPED
    assert seen.run.exit_code == 0
    assert seen.run.signals == ()
    assert seen.diagnosis.errors == ()
    assert seen.one(IterationsSeen).iterations == 20
    assert (seen.folder / "finally.txt").exists()
    assert (seen.folder / "atexit.txt").exists()
    assert not (seen.folder / "after.txt").exists()
    assert (seen.folder / "precious.txt").read_text() == "as it was"
    assert (seen.folder / "log.csv").read_text().split() == [str(step) for step in range(19)]
    assert not (seen.folder / "__pycache__").exists()
    assert sorted(path.name for path in seen.folder.iterdir()) == sorted(
        ["train.py", "precious.txt", "log.csv", "finally.txt", "atexit.txt"]
    )


def test_what_the_script_does_on_ctrl_c_is_done_when_the_window_ends(watch):
    seen = watch(
        script("""
        import pathlib
        folder = pathlib.Path(__file__).parent
        done = -1
        try:
            for done in loop(100000):
                pass
        except KeyboardInterrupt:
            (folder / "saved.txt").write_text(str(done))
        print("the end")
        """),
        steps=20,
    )
    assert seen.run.ending is Ending.STOPPED
    assert seen.run.signals == ()
    assert seen.diagnosis.errors == ()
    assert (seen.folder / "saved.txt").read_text() == "18"  # the twentieth step was taken, and was not told any more
    assert b"the end" in seen.stdout


@pytest.mark.slow
def test_exception_for_everything_does_not_keep_the_window_open(watch):
    """``except BaseException`` around the step swallows the request; the script is asked again from outside."""
    seen = watch(
        script("""
        import time
        steps = loop(10**9)
        while True:
            try:
                next(steps)
                time.sleep(0.01)
            except BaseException:
                steps = loop(10**9)
        """),
        steps=5,
        patience=SHORT,
    )
    assert seen.run.ending is Ending.STOPPED
    assert seen.run.signals[:2] == ("SIGINT", "SIGTERM")


def test_no_stop_lets_it_run_to_its_end(watch):
    seen = watch(script("for step in loop(60): pass\nprint('the end')\n"), steps=10, stop=False)
    assert seen.run.ending is Ending.FINISHED
    assert b"the end" in seen.stdout
    assert seen.one(IterationsSeen).iterations == 10


@pytest.mark.parametrize(
    ("leave", "ending", "code"),
    [
        ("sys.exit(0)", Ending.FINISHED, 0),
        ("sys.exit('no data')", Ending.EXITED, 1),
        pytest.param("sys.exit(7)", Ending.EXITED, 7, marks=pytest.mark.slow),
        ("os._exit(0)", Ending.FINISHED, 0),
        ("os.kill(os.getpid(), 9)", Ending.KILLED, -9),
    ],
)
def test_leaves_early(watch, leave, ending, code):
    body = f"import os, sys\nfor step in loop(50):\n    if step == 1:\n        {leave}\n"
    seen = watch(script(body))
    assert seen.run.ending is ending
    assert seen.run.exit_code == code
    assert seen.diagnosis.outcome is Outcome.NOT_ENOUGH_SEEN


def test_interrupts_itself(watch):
    seen = watch(
        script("""
        import os, signal
        for step in loop(50):
            if step == 3:
                os.kill(os.getpid(), signal.SIGINT)
        """)
    )
    assert seen.run.ending is Ending.INTERRUPTED
    assert seen.run.exit_code == 130
    assert "interrupted" in seen.diagnosis.errors[0]


def test_ctrl_c_reaches_the_script_and_leaves_a_report(write, tmp_path, probe):
    path = write(
        script("""
        import pathlib, time
        folder = pathlib.Path(__file__).parent
        try:
            for step in loop(10**9):
                (folder / "going.txt").write_text(str(step))
                time.sleep(0.01)
        finally:
            (folder / "finally.txt").write_text("ran")
        """)
    )
    out = tmp_path / "report"
    command = [sys.executable, "-m", "traindx", "examine", str(path), "--out", str(out), "--steps", "0"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end = time.monotonic() + 300
    while not (path.parent / "going.txt").exists() and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=300)
    assert child.returncode == 130, error.decode()
    assert (path.parent / "finally.txt").exists()
    assert (out / "diagnosis.json").exists()


def test_killed_observer_takes_the_script_with_it(write, tmp_path, probe):
    path = write(
        script("""
        import pathlib, time
        for step in loop(10**9):
            (pathlib.Path(__file__).parent / "going.txt").write_text(str(step))
            time.sleep(0.01)
        """)
    )
    command = [sys.executable, "-m", "traindx", "examine", str(path), "--out", str(tmp_path / "r"), "--steps", "0"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 300
    while not (path.parent / "going.txt").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert len(alive(probe)) == 2
    child.kill()
    child.wait()  # the fixture sees to it that the script is gone too


def test_children_of_every_kind_are_ended(watch, probe):
    seen = watch(
        script("""
        import multiprocessing, os, subprocess, sys
        def sleep():
            import time
            time.sleep(1000)
        if __name__ == "__main__":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
            if os.fork() == 0:
                os.setsid()
                sleep()
            multiprocessing.get_context("spawn").Process(target=sleep, daemon=True).start()
            for step in loop(10**6):
                pass
        """),
        steps=10,
    )
    assert seen.run.ending is Ending.STOPPED
    assert seen.run.orphans >= 3  # the spawned one is a daemon of multiprocessing, which ends it itself
    assert alive(probe) == []


def test_prints_binary(watch):
    seen = watch(
        """
        import os, sys
        sys.stdout.buffer.write(bytes(range(256)))
        sys.stdout.flush()
        os.write(1, b"\\xff\\xfe\\x00raw")
        """
    )
    assert seen.run.ending is Ending.FINISHED
    assert seen.stdout == bytes(range(256)) + b"\xff\xfe\x00raw"


def test_no_optimiser(watch):
    seen = watch(
        """
        import torch
        weights = torch.zeros(4, requires_grad=True)
        for step in range(30):
            x = torch.randn(8, 4)
            loss = ((x @ weights) - x.sum(1)).square().mean()
            loss.backward()
            with torch.no_grad():
                weights -= 0.1 * weights.grad
                weights.grad.zero_()
        """
    )
    assert seen.run.ending is Ending.FINISHED
    assert seen.one(IterationsSeen).driven_by == "backward"
    assert any(note.subject == "optimiser steps" for note in seen.diagnosis.not_examined)
    assert seen.codes == []


def test_only_inference(watch):
    seen = watch("import torch\nmodel = torch.nn.Linear(2, 2)\nprint(model(torch.zeros(1, 2)).shape)\n")
    assert seen.run.ending is Ending.FINISHED
    assert seen.diagnosis.outcome is Outcome.NOT_ENOUGH_SEEN
    (note,) = [note for note in seen.diagnosis.not_examined if note.subject == "training"]
    assert "no optimiser took a step" in note.reason


def test_never_imports_torch(watch):
    seen = watch("import json\nprint(json.dumps({'a': 1}))\n")
    assert seen.run.ending is Ending.FINISHED
    assert seen.diagnosis.outcome is Outcome.NOT_ENOUGH_SEEN
    (note,) = [note for note in seen.diagnosis.not_examined if note.subject == "training"]
    assert "never imported torch" in note.reason
    assert seen.stdout == b'{"a": 1}\n'


def linetext(seen, place) -> str:
    assert place is not None
    return Path(place.file).read_text().splitlines()[place.line - 1].strip()


def test_a_sign_of_life_is_never_seen_half_written(tmp_path: Path) -> None:
    """A reader of the moment in which it is written took a training script for one that had not begun."""
    from threading import Thread

    from traindx.host.runner import _heartbeat
    from traindx.watch.runtime.settings import write_heartbeat

    write_heartbeat(tmp_path, 5.0)
    writer = Thread(target=lambda: [write_heartbeat(tmp_path, 5.0) for _ in range(2000)])
    writer.start()
    seen = set()
    while writer.is_alive():
        seen.add(_heartbeat(tmp_path)[0])
    writer.join()
    assert seen == {5.0}
