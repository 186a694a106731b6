"""Scripts that run in forks of one process with torch in it, so that a watched run takes a fraction of a second.

As a program it is that process: it reads ``{"settings": path, "log": path, "folder": path}`` a line, runs what the
settings say in a fork, and answers with the exit code, negative for a signal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from traindx.diagnosis import Diagnosis
    from traindx.evidence import Evidence
    from traindx.evidence.observed import ScriptRun
    from traindx.finding import Finding
    from traindx.watch.runtime.settings import Settings


@dataclass
class Finished:
    """What the runner's verdict needs of a process that ended."""

    out: Path
    child: Any
    started: float
    signals: list[str] = field(default_factory=list)


@dataclass
class Ended:
    returncode: int
    pid: int = 0


class Zygote:
    """Starts that process, and runs scripts in its forks."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == "ready"

    def run_script(self, settings: Settings, **_: Any) -> ScriptRun:
        """In place of :func:`traindx.host.runner.run_script`."""
        from traindx.host import runner
        from traindx.watch.runtime.settings import RUN_FILES, SETTINGS_FILE

        out = Path(settings.out)
        for name in RUN_FILES:
            (out / name).unlink(missing_ok=True)
        settings.save(out / SETTINGS_FILE)
        started = time.monotonic()
        fields = {"settings": str(out / SETTINGS_FILE), "log": str(out / "output.txt"), "folder": os.getcwd()}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(fields) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        ended: Any = Finished(out, Ended(code), started)
        return runner._verdict(ended, settings, interrupted=False, hung=False, orphans=())

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.kill()  # it has nothing to say and much to take down
        self.process.wait(60)


@dataclass
class Seen:
    """What was seen of a script, and said of it."""

    folder: Path
    run: ScriptRun
    evidence: Evidence
    diagnosis: Diagnosis
    output: str

    def of(self, kind: type[Any]) -> list[Any]:
        return self.evidence.of(kind)

    def one(self, kind: type[Any]) -> Any:
        (record,) = self.evidence.of(kind)
        return record

    def found(self, code: str) -> list[Finding]:
        return [finding for finding in self.diagnosis.findings if finding.code == code]

    @property
    def codes(self) -> list[str]:
        return [finding.code for finding in self.diagnosis.findings]

    def line(self, text: str) -> int:
        """Number of the one line of the script that holds a text."""
        lines = (self.folder / self.run.target).read_text(encoding="utf-8").splitlines()
        found = [number for number, line in enumerate(lines, start=1) if text in line]
        assert len(found) == 1, f"{text!r} is in lines {found}"
        return found[0]


def examined(
    zygote: Zygote, folder: Path, source: str, *arguments: str, name: str = "train.py", **settings: Any
) -> Seen:
    """Run a script under observation and judge what was seen; fails if it could not be watched at all."""
    from traindx.evidence import Evidence
    from traindx.host.diagnose import diagnose
    from traindx.watch.runtime.settings import BLIND_FILE, Settings
    from traindx.watch.runtime.sink import compact

    (folder / name).write_text(textwrap.dedent(source).lstrip("\n"), encoding="utf-8")
    out = folder / f"out{len(list(folder.glob('out*')))}"
    out.mkdir()
    fields = {"target": name, "arguments": arguments, "out": str(out), **settings}
    run = zygote.run_script(Settings(**fields))
    compact(out)
    evidence = Evidence.load(out) if (out / "evidence.jsonl").exists() else Evidence()
    output = (out / "output.txt").read_text(encoding="utf-8", errors="replace")
    assert not (out / BLIND_FILE).exists(), (out / BLIND_FILE).read_text(encoding="utf-8")
    return Seen(folder, run, evidence, diagnose(out, run), output)


def _child(settings_path: str, log_path: str) -> None:
    from traindx.watch.runtime import bootstrap as script
    from traindx.watch.runtime.settings import Settings

    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    settings = Settings.load(Path(settings_path))
    os.environ.update(settings.extras.get("environment", {}))
    os.chdir(settings.extras.get("directory") or os.getcwd())
    bootstrap = script.Bootstrap(settings)
    bootstrap.prepare()
    code = script.execute(bootstrap, settings)
    bootstrap.finish()
    sys.stdout.flush()
    os._exit(code)


def _serve() -> None:
    import torch
    import torch._dynamo  # which every optimiser imports, in three seconds

    import traindx.watch.runtime.assembly  # noqa: F401

    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        fields = json.loads(line)
        pid = os.fork()
        if not pid:
            try:
                os.chdir(fields["folder"])
                _child(fields["settings"], fields["log"])
            except BaseException:
                import traceback

                traceback.print_exc()
            os._exit(70)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent]
    _serve()
