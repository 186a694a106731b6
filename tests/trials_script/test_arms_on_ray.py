"""Arms of a script on a cluster: in copies of its folder, with the figures that they have here."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from traindx.diagnosis import TrialTable
from traindx.errors import UsageError
from traindx.evidence import Evidence
from traindx.extras import missing
from traindx.trials.script import cluster
from traindx.trials.script.cluster import at, in_a_copy, moved, packed, root_of
from traindx.trials.script.prove import Proof
from traindx.trials.script.suspects import parse
from traindx.watch.runtime.settings import Settings
from trials_script.conftest import edited
from trials_script.scripts_for_tests import CLASSIFY

needs_ray = pytest.mark.skipif(bool(missing("cluster")), reason="needs ray: pip install 'traindx[cluster]'")
WRITES = CLASSIFY + "\nopen('last.txt', 'w').write('trained')\n"


def names(archive: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {one.name.removeprefix("./") for one in opened.getmembers()}


def test_what_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder as it is, without environments, repositories and evidence, and no more than may be sent."""
    for name in ("train.py", "data/a.npy", ".git/config", "src/.venv/big", "out/evidence.jsonl", "pkg/out/kept.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * 1000)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("data/a.npy")
    sent = names(packed(tmp_path, (tmp_path / "out",)))
    assert {"train.py", "data/a.npy", "pkg/out/kept.txt", "link"} <= sent
    assert not {one for one in sent if one.startswith((".git", "src/.venv", "out", "pipe"))}
    monkeypatch.setattr(cluster, "MOST_MIB", 0)
    with pytest.raises(UsageError, match="at the same place on every node"):
        packed(tmp_path)


def test_paths_below_the_folder_are_those_of_the_copy() -> None:
    settings = Settings(
        target="/home/me/work/train.py",
        arguments=("--data=/home/me/work/data", "--scans", "/data/scans", "--name", "/home/me/workshop"),
        user_roots=("/home/me/work/pkg",),
        treatments=({"treatment": "edit", "files": ["/home/me/work/net.py"]},),
        extras={"environment": {"PYTHONPATH": "/home/me/work:/home/me/work/pkg"}},
    )
    copy = at(settings, "/home/me/work", Path("/tmp/copy"))
    assert copy.target == "/tmp/copy/train.py"
    assert copy.arguments == ("--data=/tmp/copy/data", "--scans", "/data/scans", "--name", "/home/me/workshop")
    assert copy.user_roots == ("/tmp/copy/pkg",)
    assert copy.treatments == ({"treatment": "edit", "files": ["/tmp/copy/net.py"]},)
    assert copy.extras["directory"] == "/tmp/copy"
    assert moved("/home/me/work", "/home/me/work", "/tmp/copy") == "/tmp/copy"


def test_a_script_outside_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    assert root_of(Settings(target="train.py")) == tmp_path.resolve()
    with pytest.raises(UsageError, match="lies outside"):
        root_of(Settings(target=str(tmp_path.parent / "train.py")))


def test_an_arm_in_a_copy_leaves_the_folder_alone(tmp_path: Path) -> None:
    """What the script writes is written in the copy, and what it printed and loaded comes back."""
    (tmp_path / "train.py").write_text(WRITES)
    settings = Settings(target="train.py")
    result, printed = in_a_copy(packed(tmp_path), str(tmp_path), settings, {"pair": 0})
    assert not result.broke
    assert result.iterations > 10
    assert b"val" in printed
    assert str(tmp_path / "train.py") in result.imported
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.py"]


def rows(table: TrialTable) -> list[tuple[str, str, object]]:
    return [(one.treatment, one.verdict, one.alone) for one in table.results]


@needs_ray
@pytest.mark.slow
def test_a_proof_on_a_cluster_is_that_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(edited(WRITES, ("lr=0.3", "lr=1e-5")))
    tables = []
    for executor in ("processes", "ray"):
        (tmp_path / executor).mkdir()
        proof = Proof(
            Settings(target="train.py"), (), Evidence(), tmp_path / executor, 300.0, seeds=(0, 1, 2),
            suspects=[parse("lr x1000", "train.py")], executor=executor, workers=2,
        )  # fmt: skip
        tables.append(proof.run())
    here, there = tables
    assert rows(there) == rows(here)
    assert rows(here)
    assert not (tmp_path / "last.txt").exists()
