"""Idioms run unwatched and watched, in forks of one process with torch in it."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from traindx.watch.runtime.settings import BLIND_FILE, SETTINGS_FILE, Settings

HERE = Path(__file__).parent
IDIOMS = HERE / "idioms"

# how an idiom is observed: every iteration in full, or as usual with a window that ends in the midst of the idiom
OBSERVED = {
    "full": {"every": 1, "steps": 0, "seconds": 0.0, "stop": False},
    "window": {"every": 0, "steps": 3, "seconds": 0.0, "stop": False},
}


@dataclass(frozen=True)
class Idiom:
    """One function of a file of idioms."""

    subject: str
    name: str
    title: str

    @property
    def file(self) -> Path:
        return IDIOMS / f"{self.subject}.py"


def all_idioms() -> list[Idiom]:
    """Every public function without arguments and with a title, in the order of the files."""
    found: list[Idiom] = []
    for file in sorted(IDIOMS.glob("*.py")):
        if file.stem == "kit":
            continue
        found += [
            Idiom(file.stem, node.name, title)
            for node in ast.parse(file.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef) and not node.args.args and (title := ast.get_docstring(node))
        ]
    return found


@dataclass(frozen=True)
class Ran:
    """Everything that a run shows of itself."""

    code: int
    stdout: str
    stderr: str
    files: dict[str, str]
    trouble: tuple[str, ...] = field(default=(), compare=False)  # failures of the watching itself


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file in a folder, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def trouble_in(out: Path) -> tuple[str, ...]:
    """What the watching says of its own failures."""
    found = [(out / BLIND_FILE).read_text()] if (out / BLIND_FILE).exists() else []
    log = out / "evidence.jsonl"
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        fields = json.loads(line)
        if fields["kind"] == "NotExamined" and fields["subject"].startswith("watching of"):
            found.append(f"{fields['subject']}: {fields['reason']}")
    return tuple(found)


class Zygote:
    """The process that is forked, and the unwatched runs that were already made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None
        self.known: dict[Idiom, Ran] = {}
        self.count = 0

    def start(self) -> subprocess.Popen[str]:
        if self.process is None:
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "zygote.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            assert self.process.stdout is not None
            assert self.process.stdout.readline().strip() == "ready"
        return self.process

    def run(self, idiom: Idiom, observed: dict[str, object] | None) -> Ran:
        """Run an idiom once, in a fresh folder."""
        if observed is None and idiom in self.known:
            return self.known[idiom]
        self.count += 1
        place = self.folder / str(self.count)
        folder, out = place / "work", place / "out"
        folder.mkdir(parents=True)
        settings = None
        if observed is not None:
            out.mkdir()
            Settings(target=str(idiom.file), arguments=(idiom.name,), out=str(out), **observed).save(
                out / SETTINGS_FILE
            )  # type: ignore[arg-type]
            settings = str(out / SETTINGS_FILE)
        order = {"file": str(idiom.file), "name": idiom.name, "folder": str(folder), "settings": settings}
        process = self.start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        texts = {name: (place / f"work.{name}.txt").read_text(errors="replace") for name in ("stdout", "stderr")}
        texts = {name: text.replace(str(place), "PLACE") for name, text in texts.items()}
        ran = Ran(code, texts["stdout"], texts["stderr"], contents(folder), trouble_in(out))
        if observed is None:
            self.known[idiom] = ran
        return ran

    def stop(self) -> None:
        if self.process is not None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.kill()  # it has nothing to say and much to take down
            self.process.wait(60)


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    made = Zygote(tmp_path_factory.mktemp("transparency"))
    yield made
    made.stop()
