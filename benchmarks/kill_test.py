"""Kill traindx at random moments, fifty times, and look at what is left of the user's files.

    python benchmarks/kill_test.py [--kills 50] [--seed 0] [--out results.json]

Each round begins with a project of its own: a script, a trained checkpoint ``best.pt``, a log, a link, a data folder.
``examine``, ``examine --prove``, ``compare`` and ``data`` are started in a random order, and one process of the run is
killed with SIGKILL: the parent, the script's process, or a worker of it. Then the next call is made
(``traindx restore``, which does what every call does first). It is held against the state before, byte by byte; in some
rounds somebody "trains on" after the kill, and that newer file must stay. Every line of evidence but one that was cut
short must be readable, no process of the run alive, no worktree registered, and one more call must find nothing to do.

Most rounds run a script without torch, which writes, renames and removes its files all the time and so is killed in the
middle of that more often than a training is; ``--prove`` and some of ``examine`` train with torch.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

MARK = "TRAINDX_KILL_TEST"
PLAN = (("examine", 20), ("examine-torch", 6), ("prove", 8), ("compare", 10), ("data", 6))

FILES_ONLY = """
import os, time
pid = os.fork()
if pid == 0:  # a worker that writes, too
    for n in range(600):
        with open("worker.csv", "w") as f: f.write("of the run" * n)
        time.sleep(0.01)
    os._exit(0)
for step in range(600):
    with open("best.pt", "wb") as f: f.write(b"one epoch " * 20000)
    with open("log.csv", "a") as f: f.write("of the run\\n")
    with open("fresh.tmp", "wb") as f: f.write(b"fresh " * 2000)
    os.replace("fresh.tmp", "last.pt")
    if step % 7 == 3:
        for name in ("old.pt", "link.pt"):
            if os.path.lexists(name): os.remove(name)
    time.sleep(0.01)
    print("Epoch", step, "val_dice:", step / 600)
"""
TRAINING = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def main():
    torch.manual_seed(0)
    x = torch.randn(256, 4)
    data = TensorDataset(x, x.sum(1, keepdim=True))
    loader = DataLoader(data, batch_size=16, shuffle=True, num_workers=1, persistent_workers=True)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-7)
    for epoch in range(12):
        for a, b in loader:
            loss = (torch.clamp(model(a), 0, 1) - b).square().mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        model.eval()
        with torch.no_grad():
            print(f"Epoch {epoch} val_mse: {(model(x) - x.sum(1, keepdim=True)).square().mean():.5f}")
        model.train()
        torch.save(model.state_dict(), "best.pt")
        torch.save(model.state_dict(), "last.pt")
        with open("log.csv", "a") as f: f.write("of the run\\n")

if __name__ == "__main__":
    main()
"""


def project(kind: str) -> Path:
    """A fresh project with three days of work in it."""
    folder = Path(tempfile.mkdtemp(prefix="traindx-kill-"))
    text = TRAINING if kind in ("examine-torch", "prove") else FILES_ONLY
    (folder / "train.py").write_text(text)
    for name in ("best.pt", "last.pt", "old.pt", "log.csv", "worker.csv"):
        (folder / name).write_bytes(f"three days of {name} ".encode() * 5000)
    (folder / "link.pt").symlink_to("old.pt")
    if kind == "data":
        from PIL import Image

        rng = random.Random(0)
        for number in range(150):
            image = folder / "images" / f"case_{number:03d}.png"
            image.parent.mkdir(exist_ok=True)
            Image.frombytes("L", (64, 64), rng.randbytes(64 * 64)).save(image)
    if kind == "compare":
        git(folder, "init", "-q")
        git(folder, "add", "train.py")
        git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
        (folder / "train.py").write_text(text.replace("step / 600", "step / 601"))
    return folder


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def command(kind: str) -> list[str]:
    traindx = [sys.executable, "-m", "traindx"]
    return {
        "examine": [*traindx, "examine", "train.py"],
        "examine-torch": [*traindx, "examine", "train.py"],
        "prove": [*traindx, "examine", "train.py", "--prove", "--budget", "60s", "--seeds", "2"],
        "compare": [*traindx, "compare", "--before", "HEAD", "--after", ".", "--budget", "20s", "train.py"],
        "data": [*traindx, "data", "images"],
    }[kind]


def state(folder: Path) -> dict[str, str]:
    """Digest of every file of the user's."""
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if parts[0] in ("traindx-out", ".git", "__pycache__") or (path.is_dir() and not path.is_symlink()):
            continue
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        found["/".join(parts)] = hashlib.sha256(content).hexdigest()
    return found


def processes(mark: str) -> dict[int, int]:
    """Processes that carry a mark, with their parents."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if mark.encode() in (entry / "environ").read_bytes().split(b"\0") and fields[0] not in "ZX":
                found[int(entry.name)] = int(fields[1])
        except OSError:
            continue
    return found


def victim_of(kind: str, whom: str, parent: int, mark: str) -> int:
    """The process to kill: the parent, its child, or a child of that (the nearest there is)."""
    family = processes(mark)
    children = [pid for pid, above in family.items() if above == parent]
    workers = [pid for pid, above in family.items() if above in children]
    if whom == "worker" and workers:
        return workers[-1]
    return children[-1] if whom != "parent" and children else parent


def one(kind: str, rng: random.Random, number: int) -> dict[str, Any]:
    """One round; what was wrong with it is in ``wrong``."""
    folder = project(kind)
    mark = f"{MARK}={number}-{os.getpid()}"
    name, _, value = mark.partition("=")
    environment = {**os.environ, name: value, "PYTHONDONTWRITEBYTECODE": "1"}
    before = state(folder)
    whom = rng.choice(("parent", "parent", "child", "worker"))
    wrong: list[str] = []
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        run = subprocess.Popen(command(kind), cwd=folder, env=environment, stdout=log, stderr=log)
        _wait_for(kind, folder, run, rng)
        at = sorted(path.parent.name for path in (folder / "traindx-out").rglob("files.jsonl"))
        with_changes = state(folder) != before
        pid = victim_of(kind, whom, run.pid, mark)
        ended_before = run.poll() is not None
        if not ended_before:
            os.kill(pid, signal.SIGKILL)
        killed = "nobody: it had ended" if ended_before else "parent" if pid == run.pid else whom
        if killed != "parent":
            try:
                run.wait(timeout=240)
            except subprocess.TimeoutExpired:
                wrong.append("it did not end within 240 s of the kill of its child")
                run.kill()
        run.wait()
    newer = killed == "parent" and rng.random() < 0.25
    if newer:  # somebody trains on before the next call
        time.sleep(6.0)
        (folder / "best.pt").write_bytes(b"six days")
    evidence = list((folder / "traindx-out").rglob("evidence.jsonl"))
    call = [sys.executable, "-m", "traindx", "restore"]
    first = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False)
    second = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False)
    wrong += _differences(before, state(folder), newer)
    wrong += _unreadable(evidence)
    if second.stdout.strip() != "nothing to put back" or second.returncode:
        wrong.append(f"the call after it: {second.stdout} {second.stderr}"[:300])
    if first.returncode and not newer:
        wrong.append(f"the next call: {first.stdout} {first.stderr}"[:300])
    end = time.monotonic() + 8  # workers of a loader look after their parent every five seconds
    while processes(mark) and time.monotonic() < end:
        time.sleep(0.2)
    wrong += [f"process {pid} is alive" for pid in processes(mark)]
    if kind == "compare" and len(git(folder, "worktree", "list").splitlines()) != 1:
        wrong.append("a worktree is left")
    if not wrong:
        shutil.rmtree(folder)
        (folder.parent / f"{folder.name}.log").unlink()
    return {
        "kind": kind,
        "killed": killed,
        "newer": newer,
        "files were changed at the kill": with_changes,
        "logs at the kill": at,
        "wrong": wrong,
        "folder": str(folder) if wrong else "",
    }


def _wait_for(kind: str, folder: Path, run: subprocess.Popen[bytes], rng: random.Random) -> None:
    """A random moment: of the whole run, or (three of four) while its files are being changed."""
    if rng.random() < 0.75 and kind != "data":
        where = "**/arms/*/files.jsonl" if kind == "prove" else "**/files.jsonl"
        end = time.monotonic() + 240
        while run.poll() is None and time.monotonic() < end and not list((folder / "traindx-out").glob(where)):
            time.sleep(0.05)
        delay = rng.uniform(0.0, 8.0 if kind in ("prove", "examine-torch") else 4.0)
    else:
        delay = rng.uniform(0.0, 12.0)
    end = time.monotonic() + delay
    while run.poll() is None and time.monotonic() < end:
        time.sleep(0.02)


def _differences(before: dict[str, str], after: dict[str, str], newer: bool) -> list[str]:
    wrong = []
    for name, digest in before.items():
        if newer and name == "best.pt":
            if after.get(name) != hashlib.sha256(b"six days").hexdigest():
                wrong.append("the newer best.pt was overwritten")
        elif after.get(name) != digest:
            wrong.append(f"{name} is {'gone' if name not in after else 'another'}")
    return wrong


def _unreadable(logs: list[Path]) -> list[str]:
    wrong = []
    for path in logs:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        for number, line in enumerate(lines[:-1], 1):
            try:
                json.loads(line)
            except json.JSONDecodeError:
                wrong.append(f"{path}: line {number} cannot be read")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=sum(count for _, count in PLAN))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="one of " + ", ".join(kind for kind, _ in PLAN))
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    plan = [kind for kind, count in PLAN for _ in range(count) if options.only in ("", kind)]
    rng.shuffle(plan)
    rounds = []
    for number, kind in enumerate(plan[: options.kills], 1):
        done = one(kind, rng, number)
        rounds.append(done)
        print(f"{number:3d}  {kind:<14} {done['killed']:<22} {'; '.join(done['wrong']) or 'as before'}", flush=True)
        if options.out is not None:
            options.out.write_text(json.dumps(rounds, indent=1) + "\n", encoding="utf-8")
    bad = [one for one in rounds if one["wrong"]]
    killed = Counter(one["killed"] for one in rounds)
    busy = sum(bool(one["logs at the kill"]) for one in rounds)
    print(f"{len(rounds)} rounds ({dict(killed)}), {busy} with a log of changed files at the kill: {len(bad)} wrong")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
