"""Notebooks: cells run as *Restart and run all* runs them, and places are named by cell and line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from traindx.finding import Finding, Location, Severity
from traindx.fix import patch_for
from traindx.notebooks import Cell, NotANotebook, cell_name, read_cells, source_of, split_name, with_source
from traindx.report.sarif import _result
from traindx.report.source import excerpt
from traindx.watch.runtime.notebook import prepared
from traindx.watch.runtime.plain_cells import PlainCells, as_python

TRAINING_CELLS = (
    "%matplotlib inline\n!echo shell speaks\nimport os, sys",
    "",
    "\n\nimport torch\nfrom torch import nn\n"
    "print('HERE', os.getcwd(), repr(sys.path[0]), __name__, '__file__' in globals())",
    "%%time\ntorch.manual_seed(0)\nmodel = nn.Linear(4, 1)\noptimizer = torch.optim.SGD(model.parameters(), lr=0.01)",
    "import asyncio\nawait asyncio.sleep(0)\nfor step in range(12):\n    x = torch.randn(16, 4)\n"
    "    loss = (model(x) - x.sum(1)).square().mean()\n    optimizer.zero_grad()\n    loss.backward()\n"
    "    optimizer.step()\nprint('LOSS', repr(loss.item()))",
)


def notebook(cells: tuple[str, ...], **metadata: Any) -> str:
    made: list[dict[str, Any]] = [{"cell_type": "markdown", "metadata": {}, "source": ["# Été"]}]
    made += [
        {
            "cell_type": "code",
            "execution_count": None,
            "metadata": metadata,
            "outputs": [],
            "source": text.splitlines(keepends=True),
        }
        for text in cells
    ]
    fields = {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "work" / "train.ipynb"
    file.parent.mkdir()
    file.write_text(notebook(TRAINING_CELLS), encoding="utf-8")
    return file


def test_empty_cells_have_no_number(path: Path) -> None:
    cells = read_cells(path)
    assert [cell.number for cell in cells] == [1, 2, 3, 4]
    assert cells[1].source.startswith("\n\nimport torch")
    name = cell_name("work/train.ipynb", 3)
    assert name == "work/train.ipynb, cell 3"
    assert split_name(name) == ("work/train.ipynb", 3)
    assert split_name("work/train.py") is None
    assert (source_of(name) or "").startswith("%%time")


@pytest.mark.parametrize("text", ["not json", "[]", '{"metadata": {}}'])
def test_what_is_no_notebook(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(NotANotebook):
        read_cells(tmp_path / "a.ipynb")


def test_places_read_as_cell_and_line(path: Path) -> None:
    place = Location(file="work/train.ipynb, cell 4", line=5)
    assert str(place) == "work/train.ipynb, cell 4, line 5"
    assert place.cell == 4
    assert (Location(file="a, cell 3.py", line=2).cell, str(Location(file="t.py", line=2))) == (0, "t.py:2")
    (fault,) = [line for line in excerpt(place) if line.at_fault]
    assert fault.text.strip() == "loss = (model(x) - x.sum(1)).square().mean()"


def finding(place: Location) -> Finding:
    return Finding(
        code="O406", name="gradients-never-zeroed", message="m", severity=Severity.MAJOR, location=place, numbers={}
    )


def test_sarif_names_the_file_and_the_cell() -> None:
    location = _result(finding(Location(file="work/train.ipynb, cell 4", line=5)), 0)["locations"][0]
    assert location["physicalLocation"] == {"artifactLocation": {"uri": "work/train.ipynb"}}
    assert location["logicalLocations"] == [{"fullyQualifiedName": "cell 4, line 5"}]


def test_a_patch_changes_one_cell_and_no_other_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = ("import torch", "for x in data:\n    loss = model(x).mean()\n    loss.backward()\n    optimizer.step()")
    before = notebook(cells)
    Path("t.ipynb").write_text(before, encoding="utf-8")
    patch = patch_for(finding(Location(file="t.ipynb, cell 2", line=4)))
    assert patch is not None
    assert "+++ b/t.ipynb, cell 2" in patch.diff
    assert "+    optimizer.zero_grad()" in patch.diff
    after = json.loads(patch.after)
    assert "optimizer.zero_grad()" in "".join(after["cells"][2]["source"])
    after["cells"][2]["source"] = json.loads(before)["cells"][2]["source"]
    assert after == json.loads(before)
    assert [line for line in before.splitlines() if "optimizer" not in line] == [
        line for line in patch.after.decode().splitlines() if "optimizer" not in line
    ]


def test_a_notebook_that_is_not_written_as_jupyter_does_is_not_rewritten() -> None:
    assert with_source(b'{"cells":  [{"cell_type": "code", "source": "x"}]}', 1, "y") is None


def test_only_what_is_no_python_becomes_a_call() -> None:
    text = "%matplotlib inline\nx = 7 \\\n % 4\ny = !ls {x}\nmodel?\ns = '''\n!not this\n'''\n"
    text += "if x:\n    %cd /\n    !echo a"
    lines = as_python(text).split("\n")
    assert len(lines) == len(text.split("\n"))
    assert lines[1:3] == ["x = 7 \\", " % 4"]
    assert lines[3].startswith("y = __traindx_shell__('ls {x}', keep=True)")
    assert lines[4] == "pass"
    assert lines[6] == "!not this"
    assert lines[9:] == ["    __traindx_magic__('cd /')", "    __traindx_shell__('echo a')"]
    assert as_python("x = (1") == "x = (1"  # an error of the user's stays one


def test_lines_stay_where_they_were() -> None:
    assert prepared("\n\nx = 1") == ("", "#\n#\nx = 1")
    assert prepared("%%time\nx = 1") == ("%%time", "#\nx = 1")
    assert prepared("%%bash\nls") == ("", "%%bash\nls")


def test_plain_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRAINDX_TEST_KEY", raising=False)
    module = ModuleType("__main__")
    cells = PlainCells(module)
    for number, text in enumerate(
        [
            "%env TRAINDX_TEST_KEY=5\nname = 'file'\nout = !echo {name} $name",
            "%%writefile note.txt\nkept\n",
            "%%bash\necho from bash",
            "import asyncio\nawait asyncio.sleep(0, 'value')",
            "%unknown_magic 3",
            "1 + 1;",
        ],
        start=1,
    ):
        cells.run(Cell(number, text), f"/x/a.ipynb, cell {number}")
    monkeypatch.setenv("TRAINDX_TEST_KEY", os.environ["TRAINDX_TEST_KEY"])
    assert vars(module)["out"] == ["file file"]
    assert (tmp_path / "note.txt").read_text() == "kept\n\n"
    said = capfd.readouterr()
    assert "from bash" in said.out
    assert "'value'" in said.out
    assert "2" not in said.out.split("'value'")[1]
    assert "a.ipynb, cell 5: %unknown_magic is not known without IPython" in said.err
    with pytest.raises(ZeroDivisionError) as caught:
        cells.run(Cell(7, "x = 1\n\n1 / 0"), "/x/a.ipynb, cell 7")
    assert (str(caught.traceback[-1].path), caught.traceback[-1].lineno + 1) == ("/x/a.ipynb, cell 7", 3)


@pytest.mark.parametrize("with_ipython", [False, True])
def test_a_notebook_is_examined(path: Path, with_ipython: bool) -> None:
    if with_ipython and find_spec("IPython") is None:
        pytest.skip("IPython is not installed")
    environment = dict(os.environ)
    if not with_ipython:  # hide it where it is installed
        hidden = path.parent.parent / "hidden"
        hidden.mkdir()
        (hidden / "sitecustomize.py").write_text(
            "import importlib.util as u\nfound = u.find_spec\n"
            "u.find_spec = lambda name, package=None: None if name == 'IPython' else found(name, package)\n"
        )
        environment["PYTHONPATH"] = str(hidden)
    command = [sys.executable, "-m", "traindx", "examine", "--json", "--out", "out", "work/train.ipynb"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    diagnosis = json.loads(done.stdout)
    places = [one["location"] for one in diagnosis["findings"] if one["code"] == "M208"]
    assert [(place["file"], place["line"]) for place in places] == [("work/train.ipynb, cell 4", 5)]
    assert f"HERE {path.parent} '' __main__ False" in done.stderr
    assert "shell speaks" in done.stderr
    assert "Wall time" in done.stderr
    assert f"LOSS {unwatched_loss()}" in done.stderr
    assert diagnosis["extras"]["script"]["exit_code"] == 0
    assert "work/train.ipynb, cell 4, line 5" in Path("out/report.md").read_text()
    assert "work/train.ipynb, cell 4" in diagnosis["extras"]["sources"]


def unwatched_loss() -> str:
    """The same cells as plain Python, without what is none."""
    import torch
    from torch import nn

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(12):
            x = torch.randn(16, 4)
            loss = (model(x) - x.sum(1)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return repr(loss.item())


def test_a_cell_that_raises_ends_it_at_its_line(path: Path) -> None:
    path.write_text(notebook(("x = 1", "\ny = {}\ny['spacing']", "print('not reached')")), encoding="utf-8")
    command = [sys.executable, "-m", "traindx", "examine", "--json", "--out", "out", "work/train.ipynb"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    script = json.loads(done.stdout)["extras"]["script"]
    assert (script["ending"], script["exit_code"], script["message"]) == ("crashed", 1, "KeyError: 'spacing'")
    assert (script["where"]["file"], script["where"]["line"]) == ("work/train.ipynb, cell 2", 3)
    assert "not reached" not in done.stderr
    assert f'File "{path}, cell 2", line 3' in done.stderr


@pytest.mark.skipif(find_spec("IPython") is None, reason="IPython is not installed")
def test_a_cell_of_a_living_kernel(tmp_path: Path) -> None:
    program = tmp_path / "kernel.py"
    program.write_text(
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "def run(text):\n    return shell.run_cell(text, store_history=True)\n"
        "run('%load_ext traindx')\n"
        "run('import torch\\nfrom torch import nn\\ntorch.manual_seed(0)\\nmodel = nn.Linear(4, 1)\\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.01)')\n"
        f"text = {TRAINING_CELLS[4].replace('import asyncio' + chr(10) + 'await asyncio.sleep(0)' + chr(10), '')!r}\n"
        "result = run('%%traindx --out out\\n' + text)\n"
        "assert result.success\n"
        "failed = run('%%traindx --out two\\nx = 1\\n1 / 0')\n"
        "assert isinstance(failed.error_in_exec, ZeroDivisionError)\n"
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"LOSS {unwatched_loss()}" in done.stdout
    diagnosis = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    (place,) = [one["location"] for one in diagnosis["findings"] if one["code"] == "M208"]
    assert (place["file"], place["line"]) == ("notebook, cell 3", 4)
