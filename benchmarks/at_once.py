"""Two, four and eight examinations at once in one folder, and what is there afterwards.

    python benchmarks/at_once.py [--counts 2 4 8]

Each starts ``traindx examine train.py`` so many times in a fresh project. The script writes a checkpoint and a log that
were there before. Afterwards every run must have ended well, with a folder of its own and a diagnosis and evidence that
can be read; the user's files must be as before, byte by byte; ``traindx runs`` must list them all; ``latest`` must
point at one of them; nothing may be left to put back, and no process alive.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kill_test import processes, state

SCRIPT = """
import time
for step in range(150):
    with open("best.pt", "wb") as f: f.write(b"one epoch " * 2000)
    with open("log.csv", "a") as f: f.write("of the run\\n")
    print("Epoch", step, "val_dice:", step / 150)
    time.sleep(0.01)
"""
TRAINDX = [sys.executable, "-m", "traindx"]


def at_once(count: int) -> list[str]:  # noqa: PLR0912 - one question after another
    """Run so many; what was wrong."""
    folder = Path(tempfile.mkdtemp(prefix="traindx-at-once-"))
    (folder / "train.py").write_text(SCRIPT)
    for name in ("best.pt", "log.csv"):
        (folder / name).write_bytes(f"three days of {name} ".encode() * 5000)
    before = state(folder)
    mark = f"TRAINDX_AT_ONCE={count}-{os.getpid()}"
    name, _, value = mark.partition("=")
    environment = {**os.environ, name: value, "PYTHONDONTWRITEBYTECODE": "1"}
    runs = [
        subprocess.Popen(
            [*TRAINDX, "examine", "train.py"],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    wrong = []
    for run in runs:
        _, said = run.communicate()
        if run.returncode not in (0, 1, 3) or "Traceback" in said:
            wrong.append(f"one ended with {run.returncode}: {said[-300:]}")
    own = [path for path in (folder / "traindx-out").iterdir() if path.is_dir() and not path.is_symlink()]
    older = folder / "traindx-out/older"
    own = [path for path in own if path != older] + (list(older.iterdir()) if older.exists() else [])
    readable = 0
    for path in own:
        try:
            json.loads((path / "diagnosis.json").read_text(encoding="utf-8"))
            for line in (path / "evidence.jsonl").read_text(encoding="utf-8").splitlines():
                json.loads(line)
            readable += 1
        except (OSError, ValueError) as error:
            wrong.append(f"{path.name}: {error}"[:200])
    if readable != count:
        wrong.append(f"{readable} diagnoses of {count}, in {sorted(path.name for path in own)}")
    after = state(folder)
    wrong += [
        f"{name} is {'gone' if name not in after else 'another'}" for name in before if after.get(name) != before[name]
    ]
    if not (folder / "traindx-out/latest").resolve().is_dir():
        wrong.append("latest points at nothing")
    listed = subprocess.run([*TRAINDX, "runs"], cwd=folder, capture_output=True, text=True, check=False).stdout
    missing = [path.name for path in own if path.name not in listed]
    if missing:
        wrong.append(f"traindx runs does not list {', '.join(missing)}")
    left = subprocess.run([*TRAINDX, "restore"], cwd=folder, capture_output=True, text=True, check=False).stdout.strip()
    if left != "nothing to put back":
        wrong.append(f"traindx restore: {left}"[:200])
    end = time.monotonic() + 20
    while processes(mark) and time.monotonic() < end:
        time.sleep(0.2)
    wrong += [f"process {pid} is alive" for pid in processes(mark)]
    if not wrong:
        shutil.rmtree(folder)
    else:
        wrong.append(f"see {folder}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[2, 4, 8])
    failed = False
    for count in parser.parse_args().counts:
        begun = time.monotonic()
        wrong = at_once(count)
        print(f"{count} at once, {time.monotonic() - begun:.0f} s: {'; '.join(wrong) or 'all right'}", flush=True)
        failed = failed or bool(wrong)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
