"""Kill traindx at random moments, fifty times, and look at what is left of the user's files.

    python benchmarks/kill_test.py [--seed 0] [--out rounds.json] [--rounds 5]

Each round begins with a project of its own: a script, a trained checkpoint ``best.pt``, a log, a link, a data folder.
``examine``, ``examine --prove``, ``compare``, ``data`` and ``train`` are started in a random order, and one process of
the run is killed with SIGKILL: the parent, the script's process, or a worker of it. Then the next call is made
(``traindx restore``, which does what every call does first). It is held against the state before, byte by byte; in some
rounds somebody "trains on" after the kill, and that newer file must stay. Every line of evidence but one that was cut
short must be readable, no process of the run alive, no worktree registered, and one more call must find nothing to do.

``train`` trains a tiny segmentation with a loader process, and with temporary files on another file system where there
is one. After the kill every checkpoint must load, none may be of an earlier step than before, and the next call
(``--resume`` where there is a checkpoint) must end with the weights of a run that nobody killed, bit by bit. In a third
of these rounds the resumed run is killed as well.

A round in which the run had ended before its time came is played again. Rounds that ``--out`` holds are not played
again: a long test can be made in pieces, with ``--rounds`` in each.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MARK = "TRAINDX_KILL_TEST"
PLAN = (("examine", 14), ("examine-torch", 5), ("prove", 8), ("compare", 8), ("data", 5), ("train", 10))
TINY = (
    *("--preset", "quick", "--steps", "24", "--threads", "1", "--data.base_filters=4", "--data.samples_per_epoch=8"),
    *("--data.folds=2", "--data.workers=1", "--averaging.start=4", "--trainer.accelerator=cpu"),
    *("--trainer.enable_progress_bar=false", "--trainer.log_every_n_steps=1"),
)
ELSEWHERE = Path("/dev/shm")
NOBODY = "nobody"
PATIENCE = 600.0
IMAGES = 400

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
        for number in range(IMAGES):
            image = folder / "images" / f"case_{number:03d}.png"
            image.parent.mkdir(exist_ok=True)
            Image.frombytes("L", (192, 192), rng.randbytes(192 * 192)).save(image)
    if kind == "train":
        phantoms(folder / "study")
    if kind == "compare":
        git(folder, "init", "-q")
        git(folder, "add", "train.py")
        git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
        (folder / "train.py").write_text(text.replace("step / 600", "step / 601"))
    return folder


def phantoms(root: Path) -> None:
    """Six small volumes with masks, as NIfTI."""
    import nibabel
    import numpy as np

    from traindx.recipes.segmentation.phantom import phantom

    for number in range(6):
        made = phantom(number, shape=(18, 20, 17))
        for sub, array in (("imagesTr", made.image[0]), ("labelsTr", made.label)):
            (root / sub).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), root / sub / f"p{number:02}.nii.gz")
    (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "organ": 1}}))


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
        "train": [*traindx, "train", "segmentation", "--root", "study", "--out", "runs/a", *TINY],
    }[kind]


def state(folder: Path) -> dict[str, str]:
    """Digest of every file of the user's."""
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if parts[0] in ("traindx-out", "runs", ".git", "__pycache__") or (path.is_dir() and not path.is_symlink()):
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


def victim_of(whom: str, run: subprocess.Popen[bytes], mark: str) -> int:
    """The process to kill: the parent, its child, or a child of that; for a while one that is not there is waited for.

    Readers of files and loaders of batches are children of the parent, in ``data`` and ``train``.
    """
    end = time.monotonic() + 10
    while whom != "parent" and run.poll() is None:
        family = processes(mark)
        children = [pid for pid, above in family.items() if above == run.pid]
        workers = [pid for pid, above in family.items() if above in children]
        if workers and whom == "worker":
            return workers[-1]
        if children and (whom == "child" or time.monotonic() > end):
            return children[-1]
        if time.monotonic() > end:
            break
        time.sleep(0.02)
    return run.pid


def one(kind: str, rng: random.Random, number: int, whole: str) -> dict[str, Any]:
    """One round; what was wrong with it is in ``wrong``."""
    folder = project(kind)
    mark = f"{MARK}={number}-{os.getpid()}"
    name, _, value = mark.partition("=")
    environment = {**os.environ, name: value, "PYTHONDONTWRITEBYTECODE": "1"}
    if kind == "train" and os.access(ELSEWHERE, os.W_OK):
        environment["TMPDIR"] = str(ELSEWHERE)
    before = state(folder)
    whom = rng.choice(("parent", "parent", "child", "worker"))
    log = folder.parent / f"{folder.name}.log"
    play = Round(kind, folder, environment, mark, rng, log)
    wrong = play.wrong
    killed = play.kill(command(kind), whom)
    with_changes = state(folder) != before
    at = sorted(path.parent.name for path in (folder / "traindx-out").rglob("files.jsonl"))
    newer = killed == "parent" and kind != "train" and rng.random() < 0.25
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
        wrong.append(f"the next call: {first.stdout} {first.stderr}"[:900])
    play.orphans()
    if kind == "train":
        steps = _checkpoints(folder, wrong)
        if rng.random() < 1 / 3 and (folder / "runs/a/last.ckpt").exists():
            killed += " and " + play.kill([*command(kind), "--resume"], "parent")
            play.orphans()
        _resumed(folder, environment, steps, whole, wrong)
        wrong += _differences(before, state(folder), newer)
    if kind == "data":
        _verified_again(folder, environment, wrong)
    if kind == "compare" and len(git(folder, "worktree", "list").splitlines()) != 1:
        wrong.append("a worktree is left")
    if not wrong:
        shutil.rmtree(folder)
        log.unlink()
    return {
        "number": number,
        "kind": kind,
        "killed": killed,
        "newer": newer,
        "files were changed at the kill": with_changes,
        "logs at the kill": at,
        "wrong": wrong,
        "folder": str(folder) if wrong else "",
    }


@dataclass
class Round:
    """What the processes of one round share."""

    kind: str
    folder: Path
    environment: dict[str, str]
    mark: str
    rng: random.Random
    log: Path
    wrong: list[str] = field(default_factory=list)

    def kill(self, words: list[str], whom: str) -> str:
        """Start a command and kill one of its processes; who it was."""
        with self.log.open("ab") as stream:
            run = subprocess.Popen(words, cwd=self.folder, env=self.environment, stdout=stream, stderr=stream)
            _wait_for(self.kind, self.folder, run, self.rng)
            pid = victim_of(whom, run, self.mark)
            if run.poll() is not None:
                return NOBODY
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # a worker that ended in the meantime
                pid = run.pid
                run.kill()
            killed = "parent" if pid == run.pid else whom if self.kind not in ("data", "train") else "worker"
            if killed != "parent":
                try:
                    run.wait(timeout=PATIENCE)
                except subprocess.TimeoutExpired:
                    self.wrong.append(f"it did not end within {PATIENCE:.0f} s of the kill of its {killed}")
                    run.kill()
            run.wait()
        return killed

    def orphans(self) -> None:
        """Note processes that are alive still."""
        end = time.monotonic() + 20  # workers of a loader look after their parent every five seconds
        while processes(self.mark) and time.monotonic() < end:
            time.sleep(0.2)
        self.wrong += [f"process {pid} is alive" for pid in processes(self.mark)]


def _checkpoints(folder: Path, wrong: list[str]) -> int:
    """Load every checkpoint of the run; the step of the last one."""
    import torch

    steps = 0
    for path in sorted((folder / "runs").rglob("*.ckpt")):
        try:
            step = int(torch.load(path, map_location="cpu", weights_only=True)["global_step"])
        except Exception as error:
            wrong.append(f"{path.name} cannot be read: {error}"[:200])
            continue
        if path.name == "last.ckpt":
            steps = step
    return steps


def _resumed(folder: Path, environment: dict[str, str], steps: int, whole: str, wrong: list[str]) -> None:
    """Go on with the training to its end, and hold it against one that nobody killed."""
    if (there := _checkpoints(folder, wrong)) < steps:
        wrong.append(f"last.ckpt is of step {there}, it was of {steps}")
    words = command("train") + (["--resume"] if (folder / "runs/a/last.ckpt").exists() else [])
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        wrong.append(f"the next call ended with {done.returncode}: {done.stdout[-300:]} {done.stderr[-300:]}")
    elif digest_of(folder / "runs/a/model.ckpt") != whole:
        wrong.append("the resumed run ends with other weights")
    left = [path.name for path in (folder / "runs/a").iterdir() if path.suffix in (".tmp", ".part")]
    if left:
        wrong.append(f"left in the folder of the run: {', '.join(left)}")


def _verified_again(folder: Path, environment: dict[str, str], wrong: list[str]) -> None:
    """The next verification must see every file and leave nothing unfinished."""
    done = subprocess.run(command("data"), cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        wrong.append(f"the next verification ended with {done.returncode}: {done.stderr[-300:]}")
    found = folder / "traindx-out/latest/diagnosis.json"
    seen = json.loads(found.read_text())["extras"]["census"]["images"] if found.exists() else 0
    if seen != IMAGES:
        wrong.append(f"the next verification saw {seen} of {IMAGES} images")


def digest_of(path: Path) -> str:
    """Digest of the weights in a checkpoint."""
    import torch

    found = hashlib.sha256()
    for name, tensor in torch.load(path, map_location="cpu", weights_only=True)["state_dict"].items():
        found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def unbroken() -> str:
    """Digest of the weights that a training ends with when nobody kills it."""
    folder = project("train")
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(command("train"), cwd=folder, env=environment, capture_output=True, check=True)
    found = digest_of(folder / "runs/a/model.ckpt")
    shutil.rmtree(folder)
    return found


def _wait_for(kind: str, folder: Path, run: subprocess.Popen[bytes], rng: random.Random) -> None:
    """A random moment: of the whole run, or (three of four) while its files are being changed."""
    if rng.random() < 0.75 and kind != "data":
        where = {"prove": "traindx-out/**/arms/*/files.jsonl", "train": "runs/a/last.ckpt"}
        end = time.monotonic() + 240
        while run.poll() is None and time.monotonic() < end:
            if list(folder.glob(where.get(kind, "traindx-out/**/files.jsonl"))):
                break
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
    parser.add_argument("--rounds", type=int, default=None, help="so many rounds in this call (default: all left)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="one of " + ", ".join(kind for kind, _ in PLAN))
    parser.add_argument("--out", type=Path, default=None, help="rounds as JSON; those in it are not played again")
    options = parser.parse_args()
    plan = [kind for kind, count in PLAN for _ in range(count)]
    random.Random(options.seed).shuffle(plan)
    kept: dict[str, Any] = {"seed": options.seed, "weights of a whole training": "", "rounds": []}
    if options.out is not None and options.out.exists():
        kept = json.loads(options.out.read_text(encoding="utf-8"))
        if kept["seed"] != options.seed:
            sys.exit(f"{options.out} is of seed {kept['seed']}")
    rounds = kept["rounds"]
    done = {one["number"] for one in rounds}
    left = [(n, kind) for n, kind in enumerate(plan, 1) if n not in done and options.only in ("", kind)]
    for number, kind in left[: options.rounds]:
        if kind == "train" and not kept["weights of a whole training"]:
            kept["weights of a whole training"] = unbroken()
        rng = random.Random(f"{options.seed} {number}")
        while True:
            result = one(kind, rng, number, kept["weights of a whole training"])
            if result["killed"] != NOBODY or result["wrong"]:
                break
        rounds.append(result)
        print(f"{number:3d}  {kind:<14} {result['killed']:<18} {'; '.join(result['wrong']) or 'as before'}", flush=True)
        if options.out is not None:
            options.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    bad = [one for one in rounds if one["wrong"]]
    killed = Counter(one["killed"] for one in rounds)
    kinds = Counter(one["kind"] for one in rounds)
    busy = sum(bool(one["logs at the kill"]) for one in rounds)
    print(f"{len(rounds)} of {len(plan)} rounds: {dict(kinds)}; killed {dict(killed)}")
    print(f"{busy} with a log of changed files at the kill; {len(bad)} wrong")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
