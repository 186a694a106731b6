"""Every way in which people start a training: the program runs as it does without us, and its training is seen."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from traindx.cli.app import run
from traindx.errors import UsageError
from traindx.host.folders import training_programs
from traindx.host.programs import FORMS, Program, program_of, program_of_command

TRAINING = """
import json, os, sys
import torch
from torch import nn

def train(where):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(12):
        x = torch.randn(16, 4)
        loss = (model(x) - x.sum(1)).square().mean()  # here
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    facts = {"argv": sys.argv, "path": sys.path[0], "cwd": os.getcwd(), "main": sys.modules["__main__"].__name__,
             "file": getattr(sys.modules["__main__"], "__file__", None), "loss": repr(loss.item()), "name": where,
             "flags": [sys.flags.optimize, os.environ.get("FOLD")]}
    print("FACTS " + json.dumps(facts))
"""
CALLED = TRAINING + "\nif __name__ == '__main__':\n    train(__name__)\n    sys.exit(5)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return path


def facts(output: str) -> list[dict[str, Any]]:
    return [json.JSONDecoder().raw_decode(said)[0] for said in output.split("FACTS ")[1:]]  # two ranks share lines


def unwatched(command: Sequence[str], **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


def examined(arguments: Sequence[str], out: Path) -> tuple[dict[str, Any], str]:
    """The diagnosis and everything that the program printed."""
    command = [sys.executable, "-m", "traindx", "examine", "--json", "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.stderr


def same_as_unwatched(arguments: Sequence[str], plain: Sequence[str], folder: Path, where: str, **more: Any) -> None:
    expected = unwatched(plain, **more)
    assert facts(expected.stdout), expected.stderr
    diagnosis, printed = examined(arguments, folder / "out")
    assert facts(printed) == facts(expected.stdout)
    assert diagnosis["extras"]["script"]["exit_code"] == expected.returncode
    (found,) = [finding for finding in diagnosis["findings"] if finding["code"] == "M208"]
    assert f"{found['location']['file']}:{found['location']['line']}" == where


LINE = next(number for number, line in enumerate(TRAINING.lstrip("\n").splitlines(), 1) if line.endswith("# here"))


def test_a_python_command_with_options_and_variables(folder: Path) -> None:
    put(folder / "train.py", CALLED)
    same_as_unwatched(
        ["--cmd", "FOLD=3", "python", "-O", "-u", "train.py", "--epochs", "2"],
        [sys.executable, "-O", "-u", "train.py", "--epochs", "2"],
        folder,
        f"train.py:{LINE}",
        env={**os.environ, "FOLD": "3"},
    )


def test_a_console_script_as_it_is_typed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code is installed, and still the user's: it is what they asked about."""
    site = folder / "site-packages"
    put(site / "netpack" / "__init__.py", "")
    put(site / "netpack" / "run.py", TRAINING + "\ndef main():\n    train(__name__)\n    return 4\n")
    script = put(
        folder / "bin" / "netpack_train",
        f"""
        #!{sys.executable}
        import sys
        from netpack.run import main
        if __name__ == "__main__":
            sys.exit(main())
        """,
    )
    script.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    where = f"site-packages/netpack/run.py:{LINE}"
    same_as_unwatched(
        ["netpack_train", "001", "2d", "--fold", "0"], [str(script), "001", "2d", "--fold", "0"], folder, where
    )


def test_a_module_of_a_package(folder: Path) -> None:
    put(folder / "pack" / "__init__.py", "")
    put(folder / "pack" / "train.py", CALLED)
    command = [sys.executable, "-m", "pack.train", "--epochs", "2"]
    same_as_unwatched(["-m", "pack.train", "--", "--epochs", "2"], command, folder, f"pack/train.py:{LINE}")


def test_torchrun_with_two_ranks(folder: Path) -> None:
    put(folder / "train.py", CALLED.replace("sys.exit(5)", "pass"))
    words = ["--nproc_per_node=2", "--master_port=29613", "train.py", "--epochs", "2"]
    expected = facts(unwatched([sys.executable, "-m", "torch.distributed.run", *words]).stdout)
    assert len(expected) == 2
    diagnosis, printed = examined(["torchrun", *words], folder / "out")
    assert facts(printed) == expected
    assert "M208" in [finding["code"] for finding in diagnosis["findings"]]
    assert diagnosis["extras"]["script"]["exit_code"] == 0


@pytest.mark.skipif(find_spec("accelerate") is None, reason="accelerate is not installed")
def test_accelerate_starts_the_script_in_a_process_of_its_own(folder: Path) -> None:
    put(folder / "train.py", CALLED.replace("sys.exit(5)", "pass"))
    words = ["launch", "--cpu", "--num_processes", "1", "train.py", "--epochs", "2"]
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", *words]
    same_as_unwatched(["accelerate", *words], command, folder, f"train.py:{LINE}")


def test_a_launcher_that_starts_the_script_as_a_program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``accelerate launch`` does for one process, by a stand-in of that name: it is watched where it trains."""
    put(folder / "train.py", CALLED)
    put(folder / "accelerate" / "__init__.py", "")
    put(folder / "accelerate" / "commands" / "__init__.py", "")
    put(
        folder / "accelerate" / "commands" / "accelerate_cli.py",
        """
        import subprocess, sys, torch
        sys.exit(subprocess.Popen([sys.executable, *sys.argv[2:]]).wait())
        """,
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "train.py", "--lr", "1"]
    arguments = ["--cmd", "python", "-m", "accelerate.commands.accelerate_cli", "launch", "train.py", "--lr", "1"]
    same_as_unwatched(arguments, command, folder, f"train.py:{LINE}")


# -- folders -------------------------------------------------------------------------------------------------------


def test_a_folder_with_one_training_script(folder: Path) -> None:
    put(folder / "project" / "train.py", "import engine\nif __name__ == '__main__':\n    engine.train('x')\n")
    put(folder / "project" / "engine.py", TRAINING)
    put(folder / "project" / "model.py", "from torch import nn\nclass Net(nn.Module):\n    pass\n")
    put(folder / "project" / "evaluate.py", "import model\nif __name__ == '__main__':\n    print(model.Net())\n")
    (found,) = training_programs(folder / "project")
    assert found.path == folder / "project" / "train.py"
    assert program_of("project", ["--lr", "1"]).arguments == ("--lr", "1")
    assert "engine.py" in program_of("project").said


def test_a_folder_with_several_lists_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train_first.py", "train_second.py"):
        put(folder / "project" / name, CALLED)
    assert run(["examine", "project", "--", "--lr", "1"]) == 2
    said = capsys.readouterr().err
    assert "2 programs in project train" in said
    assert "traindx examine project/train_first.py -- --lr 1" in said


def test_a_folder_without_any(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder / "project" / "read.py", "print('nothing is trained')\n")
    assert run(["examine", "project"]) == 2
    assert "no file in project both trains" in capsys.readouterr().err


# -- what is not understood ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [["no-such-thing"], ["gone.py"], ["gone.ipynb"], ["--cmd", "ls", "-l"], ["--cmd", "python", "-c", "1"], ["--cmd"]],
)
def test_every_form_is_listed(folder: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["examine", *words]) == 2
    said = capsys.readouterr().err
    for name, example in FORMS:
        assert name in said
        assert example in said


def test_another_python_is_refused(folder: Path) -> None:
    other = put(folder / "other" / "bin" / "python3.9", "")
    put(folder / "train.py", CALLED)
    with pytest.raises(UsageError, match=r"python3\.9"):
        program_of_command([str(other), "train.py"])


def test_one_quoted_command_is_taken_apart(folder: Path) -> None:
    put(folder / "my train.py", CALLED)
    found = program_of_command(["FOLD=1 python -W ignore 'my train.py' --lr 2"])
    assert found == Program(
        "my train.py", ("--lr", "2"), label="my train", environment=(("FOLD", "1"),), options=("-W", "ignore")
    )


def test_options_of_ours_before_the_command_are_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def stand_in(program: Program, options: Any, **more: Any) -> int:
        seen.update(program=program, steps=options.steps)
        return 0

    monkeypatch.setattr("traindx.cli.script.examine_program", stand_in)
    put(folder / "train.py", CALLED)
    assert run(["examine", "--steps", "7", "python", "train.py", "--steps", "9", "-m", "x"]) == 0
    assert seen["steps"] == 7
    assert seen["program"].arguments == ("--steps", "9", "-m", "x")
    assert run(["examine", "train.py", "--steps", "8", "--", "--steps", "9"]) == 0
    assert (seen["steps"], seen["program"].arguments) == (8, ("--steps", "9"))


def test_the_examples_are_those_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    run(["examine", "--help"])
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    for word in ("TRAIN.ipynb", "FOLDER", "torchrun", "accelerate launch", "nnUNetv2_train"):
        assert word in said
