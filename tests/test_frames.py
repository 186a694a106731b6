"""Whose line is it: the innermost frame of user code, never torch's, an installed package's or traindx's machinery."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import weakref

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import traindx.checks.base
import traindx.faults
import traindx.recipes
from traindx.core import frames
from traindx.errors import CaseError
from traindx.watch.runtime.call_sites import loaded_files


class Reporter(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.places = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.places.append(frames.user_location(sys._getframe(1)))  # this mode is user code here
        return func(*args, **(kwargs or {}))


def line_of(text):
    source, start = inspect.getsourcelines(inspect.getmodule(line_of))
    return next(number for number, line in enumerate(source, start=max(start, 1)) if line.strip().startswith(text))


def test_the_innermost_user_frame_of_a_torch_call_is_the_users_line():
    layer = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    with Reporter() as reporter:
        layer(torch.zeros(1, 2))  # all the work happens inside torch
    assert {place.file.rsplit("/")[-1] for place in reporter.places} == {"test_frames.py"}
    assert {place.line for place in reporter.places} == {line_of("layer(torch.zeros(1, 2))")}
    assert reporter.places[-1].symbol == "test_the_innermost_user_frame_of_a_torch_call_is_the_users_line"


def test_recipes_and_faults_are_user_code_and_the_machinery_is_not():
    assert frames.is_user_file(traindx.recipes.__file__)
    assert frames.is_user_file(traindx.faults.__file__)
    assert not frames.is_user_file(traindx.checks.base.__file__)
    assert not frames.is_user_file(frames.__file__)
    assert not frames.is_user_file(torch.__file__)
    assert not frames.is_user_file(pytest.__file__)
    assert not frames.is_user_file(functools.__file__)
    assert not frames.is_user_file("<string>")
    assert not frames.is_user_file("<frozen importlib._bootstrap>")
    assert frames.is_user_file("<ipython-input-3-abc>")


def test_a_folder_of_installed_packages_on_the_search_path_is_no_users(tmp_path, monkeypatch):
    for name in ("packages", "project"):
        (tmp_path / name / "tool").mkdir(parents=True)
    (tmp_path / "packages" / "tool-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "project"), str(tmp_path / "packages"), *sys.path])
    assert not frames.is_user_file(str(tmp_path / "packages" / "tool" / "core.py"))
    assert frames.is_user_file(str(tmp_path / "project" / "tool" / "core.py"))


def test_an_exception_inside_torch_is_placed_at_the_users_call():
    with pytest.raises(RuntimeError) as caught:
        torch.zeros(2) + torch.zeros(3)
    place = frames.raised_at(caught.value)
    assert place is not None
    assert place.line == line_of("torch.zeros(2) + torch.zeros(3)")


def test_an_exception_that_never_touched_user_code_has_no_place_but_its_cause_may():
    assert frames.raised_at(ValueError("never raised")) is None
    wrapped = CaseError("wrapped")
    try:
        raise KeyError("inside")
    except KeyError as error:
        wrapped.__cause__ = error
    place = frames.raised_at(wrapped)
    assert place is not None
    assert place.line == line_of('raise KeyError("inside")')


def test_definitions_of_the_user_have_a_place_and_library_ones_do_not():
    place = frames.defined_at(Reporter)
    assert place is not None
    assert (place.line, place.symbol) == (line_of("class Reporter"), "Reporter")
    assert frames.defined_at(functools.partial(line_of, "x")) == frames.defined_at(line_of)
    assert frames.defined_at(Reporter()) == place
    assert frames.defined_at(nn.Linear) is None
    assert frames.defined_at(len) is None


def test_paths_inside_the_working_directory_are_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert frames.shown_path(str(tmp_path / "train.py")) == "train.py"
    assert frames.shown_path("/elsewhere/train.py") == "/elsewhere/train.py"


def test_reading_the_names_of_a_function_keeps_nothing_alive_and_changes_nothing() -> None:
    class Kept:
        pass

    def reads() -> list[tuple[bool, bool]]:  # no assertion here: pytest has it ask for the local names
        found = []
        for number in range(3):
            kept = Kept()
            known = weakref.ref(kept)
            right = frames.locals_of(sys._getframe())["number"] == number
            del kept
            found.append((right, known() is not None))
        return found

    def keeps_its_own() -> list[str]:
        first = 1
        own = locals()
        second = first
        frames.locals_of(sys._getframe())
        return [*sorted(own), str(second)]

    assert reads() == [(True, False)] * 3
    assert keeps_its_own() == ["first", "1"]


def test_links_are_followed_and_names_without_a_folder_are_not_remembered(tmp_path, monkeypatch):
    """A file may be linked into a package, a package may be linked out of one, and the working directory changes."""
    mine, installed = tmp_path / "mine", tmp_path / "lib" / "site-packages"
    for folder in (mine, installed / "theirs"):
        folder.mkdir(parents=True)
        (folder / "model.py").touch()
    (installed / "linked").symlink_to(mine)
    (installed / "single.py").symlink_to(mine / "model.py")
    (mine / "vendored").symlink_to(installed / "theirs")
    theirs = [installed / "theirs" / "model.py", mine / "vendored" / "model.py"]
    ours = [mine / "model.py", installed / "linked" / "model.py", installed / "single.py"]
    assert not any(frames.is_user_file(str(path)) for path in theirs)
    assert all(frames.is_user_file(str(path)) for path in ours)
    for name in ("first.py", "second.py"):
        monkeypatch.chdir(mine if name == "first.py" else installed)
        assert frames.is_user_file(name) is (name == "first.py")


def test_a_source_that_comes_or_goes_is_noticed(tmp_path, monkeypatch):
    file = tmp_path / "comes_later.py"
    file.touch()
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        assert str(file) not in loaded_files()
        importlib.import_module(file.stem)
        assert str(file) in loaded_files()
        del sys.modules[file.stem]
