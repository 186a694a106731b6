"""Calls of libraries other than torch, held against the catalogue of contracts from the script's first line on."""

from __future__ import annotations

import ast
import linecache
import re
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any

from traindx.evidence.base import Record
from traindx.watch.contracts import arrays
from traindx.watch.contracts.base import IN_ORDER, Broken, Check, Given, Said, Tally, bound
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.patching import Patches
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.source_text import statement_at
from traindx.watch.runtime.source_trees import source_files
from traindx.watch.runtime.syntax import walk

OFF = frozenset({"false", "f", "no", "n", "off", "0", "none", "disable", "disabled"})
EVALUATED = {"val", "va", "valid", "validation", "test", "te", "tst", "dev", "holdout", "eval"}  # in names
TRUTH = {"true", "truth", "label", "labels", "target", "targets", "gt", "gold", "actual"}
PREDICTED = {"pred", "preds", "prediction", "predictions", "predicted", "output", "outputs", "logits", "prob", "probs"}
GIVEN, ASKED = {"x", "data", "images", "features", "inputs"}, {"y", "labels", "label", "target", "targets"}
PRETRAINED = re.compile(r"pretrained|from_pretrained|weights\s*=|imagenet|0\.485", re.IGNORECASE)
EXCHANGED = re.compile(r"cvtColor|bgr|::\s*-1|\[\s*2\s*,\s*1\s*,\s*0\s*\]|IMREAD_GRAYSCALE|convert\(", re.IGNORECASE)
_OF_CLASSES = (
    "precision_score",
    "recall_score",
    "confusion_matrix",
    "classification_report",
    "precision_recall_fscore_support",
    "log_loss",
)
_OF_NUMBERS = ("r2_score", "explained_variance_score")
SELECTORS = ("SelectKBest", "SelectPercentile", "SelectFpr", "SelectFdr", "SelectFromModel", "RFE", "RFECV")


class LibraryContracts:
    """Wraps functions of argparse, of array libraries and of scikit-learn.

    In processes that were forked (workers of a loader) nothing is noted: what they see never comes back.
    """

    def __init__(self) -> None:
        self.patches = Patches()
        self.tally = Tally()
        self.active = True
        self.muted: Callable[[], bool] = lambda: False  # our own code runs
        self._added: weakref.WeakKeyDictionary[Any, CallSite] = weakref.WeakKeyDictionary()
        self._fitted: weakref.WeakKeyDictionary[Any, tuple[CallSite, Any]] = weakref.WeakKeyDictionary()
        self._coloured: dict[CallSite, int] = {}
        self._read_images = Bursts(dense=6, ratio=2.0)
        self._made_of_all: dict[int, tuple[weakref.ref[Any], str]] = {}  # arrays made with the help of all rows

    def waited_for(self) -> Iterable[tuple[str, Callable[[ModuleType], None]]]:
        """Modules, and what to do when they were imported."""
        for name in arrays.BY_MODULE:
            yield name, partial(self.install_arrays, arrays.BY_MODULE[name])
        yield "argparse", self.install_argparse
        yield "sklearn.base", self.install_transformers
        yield "sklearn.preprocessing._label", partial(self._wrap_fit, names=("LabelEncoder",))
        yield "sklearn.decomposition._pca", partial(self._wrap_fit, names=("PCA",))
        yield "sklearn.metrics._classification", partial(self.install_scores, _OF_CLASSES)
        yield "sklearn.metrics._regression", partial(self.install_scores, _OF_NUMBERS)
        yield "imblearn.base", self.install_samplers
        yield "cv2", self.install_reader
        yield "sklearn.model_selection._split", self.install_split

    # -- arrays ----------------------------------------------------------------------------------------------------

    def install_arrays(self, checks: tuple[tuple[str, Check], ...], module: ModuleType) -> None:
        """Functions, and methods of classes, of an array library."""
        by_name: dict[str, list[Check]] = {}
        for name, check in checks:
            by_name.setdefault(name, []).append(check)
        for name, several in by_name.items():
            owner: Any = module
            *path, last = name.split(".")
            for part in path:
                owner = getattr(owner, part, None)
            if owner is not None:
                self.patches.wrap(owner, last, partial(self._make, tuple(several), last))

    def _make(self, checks: tuple[Check, ...], name: str, original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            out = original(*args, **kwargs)
            if self.active and not self.muted():
                with suppress(Exception):  # whatever it is, it is not the script's concern
                    site = here()
                    for check in checks:
                        if site is not None and self.tally.wanted(check.contract, site):
                            named = bound(check.names, args, kwargs)
                            named = {arrays.RENAMED.get(key, key): value for key, value in named.items()}
                            given = Given(torch=None, function=name, named=named, out=out)
                            self.tally.add(check.contract, name, site, check.look(given))
            return out

        return call

    # -- options ---------------------------------------------------------------------------------------------------

    def install_argparse(self, module: ModuleType) -> None:
        """``argparse``: options whose type is ``bool``, and what they are given."""

        def make_add(original: Any) -> Any:
            def add_argument(container: Any, *args: Any, **kwargs: Any) -> Any:
                action = original(container, *args, **kwargs)
                if kwargs.get("type") is bool and self.active:
                    site = here()
                    with suppress(TypeError):
                        if site is not None:
                            self._added[action] = site
                return action

            return add_argument

        def make_value(original: Any) -> Any:
            def get_value(parser: Any, action: Any, text: Any) -> Any:
                if self.active and action.type is bool and isinstance(text, str):
                    self._read(action, text)
                return original(parser, action, text)

            return get_value

        self.patches.wrap(module._ActionsContainer, "add_argument", make_add)
        self.patches.wrap(module.ArgumentParser, "_get_value", make_value)

    def _read(self, action: Any, text: str) -> None:
        with suppress(Exception):  # whatever it is, it is not the script's concern
            site = self._added.get(action)
            name = next(iter(action.option_strings), action.dest)
            if site is not None:
                off = text.strip().lower() in OFF
                said = Broken(f"{text!r} for {name}, which becomes True") if off else IN_ORDER
                self.tally.add("text-as-bool", "bool", site, said)

    # -- scikit-learn ----------------------------------------------------------------------------------------------

    def install_transformers(self, module: ModuleType) -> None:
        """``sklearn.base``: what nearly all transformers have their ``fit_transform`` from."""
        self._wrap_fit(module, names=("TransformerMixin",))

    def _wrap_fit(self, module: ModuleType, names: tuple[str, ...]) -> None:
        for name in names:
            owner = getattr(module, name, None)
            if owner is not None and "fit_transform" in vars(owner):
                self.patches.wrap(owner, "fit_transform", self._make_fit)

    def _make_fit(self, original: Any) -> Any:
        def fit_transform(transformer: Any, *args: Any, **kwargs: Any) -> Any:
            out = original(transformer, *args, **kwargs)
            if self.active and not self.muted():
                with suppress(Exception):
                    given = args[0] if args else kwargs.get("X", kwargs.get("y"))
                    self._fitted_by(transformer, given, here())
                    supervised = len(args) > 1 or kwargs.get("y") is not None
                    if supervised and type(transformer).__name__ in SELECTORS:
                        self._note(out, f"features that {type(transformer).__name__} chose by the labels of all rows")
            return out

        return fit_transform

    def _fitted_by(self, transformer: Any, given: Any, site: CallSite | None) -> None:
        columns = tuple(given.shape[1:]) if hasattr(given, "shape") else ()
        before = self._fitted.get(transformer)
        if site is None:
            return
        self._fitted[transformer] = (site, columns)
        if before is None or before[0].file != site.file or before[0].symbol != site.symbol or before[1] != columns:
            return
        first, second = spoken(before[0]), spoken(site)
        if before[0].line == site.line or not of_evaluation(second) or of_evaluation(first):
            return
        what = f"`{second}` after it was fitted to the training data in line {before[0].line}"
        self.tally.add("fitted-again", f"{type(transformer).__name__}.fit_transform", site, Broken(what))

    def install_samplers(self, module: ModuleType) -> None:
        """``imblearn.base``: over- and undersampling."""

        def make(original: Any) -> Any:
            def fit_resample(sampler: Any, *args: Any, **kwargs: Any) -> Any:
                out = original(sampler, *args, **kwargs)
                if self.active and not self.muted():
                    with suppress(Exception):
                        for one in out[:2]:
                            self._note(one, f"rows that {type(sampler).__name__} made of all rows")
                return out

            return fit_resample

        for name in ("SamplerMixin", "BaseSampler"):
            owner = getattr(module, name, None)
            if owner is not None and "fit_resample" in vars(owner):
                self.patches.wrap(owner, "fit_resample", make)

    def install_split(self, module: ModuleType) -> None:
        """``sklearn.model_selection._split``."""

        def make(original: Any) -> Any:
            def train_test_split(*arrays_: Any, **options: Any) -> Any:
                if self.active and not self.muted():
                    with suppress(Exception):
                        site = here()
                        notes = [known for one in arrays_ if (known := self._noted(one))]
                        if site is not None:
                            said = Broken(notes[0]) if notes else IN_ORDER
                            self.tally.add("resampled-before-the-split", "train_test_split", site, said)
                            self.tally.add("split-unpacked-in-other-order", "train_test_split", site, unpacked(site))
                return original(*arrays_, **options)

            return train_test_split

        self.patches.wrap(module, "train_test_split", make)

    def install_scores(self, names: tuple[str, ...], module: ModuleType) -> None:
        """Scores that are not the same both ways; what their arguments are called is read from the source."""

        def make(original: Any) -> Any:
            def score(*args: Any, **kwargs: Any) -> Any:
                if self.active and len(args) > 1 and not self.muted():
                    with suppress(Exception):
                        site, name = here(), original.__name__
                        if site is not None and self.tally.wanted("truth-and-prediction-exchanged", site):
                            self.tally.add("truth-and-prediction-exchanged", name, site, exchanged(site, name))
                return original(*args, **kwargs)

            return score

        for name in names:
            self.patches.wrap(module, name, make)

    # -- colours ---------------------------------------------------------------------------------------------------

    def install_reader(self, module: ModuleType) -> None:
        """``cv2.imread``."""

        def make(original: Any) -> Any:
            def imread(*args: Any, **kwargs: Any) -> Any:
                image = original(*args, **kwargs)
                if self.active and not self.muted():
                    with suppress(Exception):
                        site = here()
                        if site is not None and self._read_images.wanted(site) and coloured(image):
                            self._coloured[site] = self._coloured.get(site, 0) + 1
                return image

            return imread

        self.patches.wrap(module, "imread", make)

    def _colours(self) -> Iterable[Record]:
        """Colour images, a network that learnt colours before, and no line that exchanges any."""
        if not self._coloured:
            return
        texts = ["".join(linecache.getlines(name)) for name in source_files()]
        learnt = any(PRETRAINED.search(text) for text in texts)
        turned = any(EXCHANGED.search(text) for text in texts)
        if not learnt or not texts:
            return
        last = Tally()
        for site, count in self._coloured.items():
            for _ in range(count):
                what = "no conversion, and what it gives goes to a network that was trained before"
                last.add("blue-first", "imread", site, IN_ORDER if turned else Broken(what))
        yield from last.records()

    def _note(self, array: Any, what: str) -> None:
        self._made_of_all[id(array)] = (weakref.ref(array), what)

    def _noted(self, array: Any) -> str:
        known = self._made_of_all.get(id(array))
        return known[1] if known is not None and known[0]() is array else ""

    def stop(self) -> None:
        """The watching is over; a wrapper that somebody holds passes everything through."""
        self.active = False

    def records(self) -> Iterable[Record]:
        """One record a contract and line."""
        yield from self.tally.records()
        yield from self._colours()


def of_evaluation(text: str) -> bool:
    """Whether a name says that what it stands for is evaluated: ``X_test``, ``xval``, ``df.loc[valid]``."""
    return any(word.removeprefix("x").removeprefix("y") in EVALUATED for word in _words(text))


def _words(text: str) -> list[str]:
    return [word.lower() for word in re.split(r"[^A-Za-z]+|(?<=[a-z])(?=[A-Z])", text) if word]


def exchanged(site: CallSite, name: str) -> Said:
    """Whether the arguments of a score are called the other way round."""
    statement = statement_at(site.file, site.line)
    for node in walk(statement) if statement is not None else ():
        if not isinstance(node, ast.Call) or len(node.args) < 2:
            continue
        if name != (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")):
            continue
        first, second = (set(_words(ast.unparse(one))) for one in node.args[:2])
        if first & PREDICTED and second & TRUTH and not first & TRUTH and not second & PREDICTED:
            return Broken(f"`{ast.unparse(node.args[0])}` first and `{ast.unparse(node.args[1])}` second")
        if first & TRUTH and second & PREDICTED and not first & PREDICTED:
            return IN_ORDER
    return None


def unpacked(site: CallSite) -> Said:
    """Whether the parts of a split of two arrays are taken in another order than they come."""
    statement = statement_at(site.file, site.line)
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
        return None
    target = statement.targets[0]
    names = [one.id for one in target.elts if isinstance(one, ast.Name)] if isinstance(target, ast.Tuple) else []
    if len(names) != 4 or len(statement.value.args) < 2:
        return None
    firsts = [next(iter(_words(name)), "") for name in names]
    kinds = ["x" if one in GIVEN or one[:1] == "x" else "y" if one in ASKED or one[:1] == "y" else "" for one in firsts]
    apart = [("e" if of_evaluation(name) else "t" if "train" in name.lower() else "") for name in names]
    if kinds == ["x", "y", "x", "y"] or (kinds == ["x", "x", "y", "y"] and apart == ["e", "t", "e", "t"]):
        return Broken(f"its parts in the order {', '.join(names)}")
    return IN_ORDER if kinds == ["x", "x", "y", "y"] else None


def coloured(image: Any) -> bool:
    """An image of three channels that are not the same."""
    if getattr(image, "ndim", 0) != 3 or image.shape[2] != 3:
        return False
    part = image[:: max(1, image.shape[0] // 64), :: max(1, image.shape[1] // 64)].astype(float)
    return bool(abs(part[..., 0] - part[..., 2]).mean() > 4)


def spoken(site: CallSite) -> str:
    """The first argument of the call of ``fit_transform`` at a line, as the source has it."""
    statement = statement_at(site.file, site.line)
    for node in walk(statement) if statement is not None else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "fit_transform":
            return ast.unparse(node.args[0]) if node.args else ""
    return ""
