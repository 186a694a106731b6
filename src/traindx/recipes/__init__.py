"""Recipes: correct, trainable implementations of the five systems, written against the public API as a user would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from traindx.extras import require

if TYPE_CHECKING:
    from traindx.case import Case

__all__ = ["Recipe", "registry"]


@dataclass(frozen=True)
class Recipe:
    """A recipe by name. What it needs is imported when it is first used.

    Attributes:
        name: As on the command line.
        title: What it does, in one line.
        where: ``module:function`` of what it offers, by the names ``case``, ``train``, ``predict``, ``evaluate`` and
            ``export``.
    """

    name: str
    title: str
    where: Mapping[str, str]

    def case(self, **options: Any) -> Case:
        """The recipe as a :class:`traindx.Case`; options are those of the recipe's ``make_case``."""
        made: Case = self._function("case")(**options)
        return made

    def train(self, argv: Sequence[str]) -> int | None:
        """Run ``traindx train RECIPE ARGS...``."""
        return self._run("train", argv)

    def predict(self, argv: Sequence[str]) -> int | None:
        """Run ``traindx predict RECIPE ARGS...``."""
        return self._run("predict", argv)

    def evaluate(self, argv: Sequence[str]) -> int | None:
        """Run ``traindx evaluate RECIPE ARGS...``."""
        return self._run("evaluate", argv)

    def export(self, argv: Sequence[str]) -> int | None:
        """Run ``traindx export RECIPE ARGS...``."""
        return self._run("export", argv)

    def _run(self, command: str, argv: Sequence[str]) -> int | None:
        code: int | None = self._function(command)(list(argv))
        return code

    def _function(self, offer: str) -> Callable[..., Any]:
        require("recipes", f"the recipe {self.name!r}")
        module, _, name = self.where[offer].partition(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function


@cache
def registry() -> Mapping[str, Recipe]:
    """Every recipe that ships, by name."""
    ctx = "traindx.recipes"
    recipes = (
        Recipe(
            "xray2ct",
            "a CT volume from a frontal and a lateral radiograph, by conditional diffusion",
            {
                "case": f"{ctx}.xray2ct.case:make_case",
                "train": f"{ctx}.xray2ct.train:main",
                "predict": f"{ctx}.xray2ct.predict:main",
                "evaluate": f"{ctx}.xray2ct.evaluate:main",
                "export": f"{ctx}.xray2ct.export:main",
            },
        ),
        Recipe(
            "xray2ct_regression",
            "a CT volume from radiographs by direct regression, in stages of growing resolution",
            {
                "case": f"{ctx}.xray2ct.cascade.case:regression",
                "train": f"{ctx}.xray2ct.cascade.train:regression",
                "predict": f"{ctx}.xray2ct.cascade.predict:regression",
                "evaluate": f"{ctx}.xray2ct.cascade.evaluate:regression",
                "export": f"{ctx}.xray2ct.export:regression",
            },
        ),
        Recipe(
            "xray2ct_cascade",
            "a CT volume from radiographs by a cascade of diffusion models of growing resolution",
            {
                "case": f"{ctx}.xray2ct.cascade.case:diffusion",
                "train": f"{ctx}.xray2ct.cascade.train:diffusion",
                "predict": f"{ctx}.xray2ct.cascade.predict:diffusion",
                "evaluate": f"{ctx}.xray2ct.cascade.evaluate:diffusion",
                "export": f"{ctx}.xray2ct.export:diffusion",
            },
        ),
        Recipe(
            "segmentation",
            "organs and lesions in 3D volumes of which a part is not labelled",
            {
                "case": f"{ctx}.segmentation.case:make_case",
                "train": f"{ctx}.segmentation.train:train",
                "predict": f"{ctx}.segmentation.predict:predict",
                "evaluate": f"{ctx}.segmentation.evaluation:evaluate",
                "export": f"{ctx}.segmentation.export:export",
            },
        ),
        Recipe(
            "concepts",
            "concept maps, prototypes and a task from chest radiographs with boxes",
            {
                "case": f"{ctx}.concepts.case:make_case",
                "train": f"{ctx}.concepts.train:main",
                "predict": f"{ctx}.concepts.predict:main",
                "evaluate": f"{ctx}.concepts.evaluation:main",
                "export": f"{ctx}.concepts.export:main",
            },
        ),
        Recipe(
            "fusion",
            "one image from registered CT and MR, by region-guided diffusion",
            {
                "case": f"{ctx}.fusion.case:make_case",
                "train": f"{ctx}.fusion.train:main",
                "predict": f"{ctx}.fusion.predict:main",
                "evaluate": f"{ctx}.fusion.evaluate:main",
                "export": f"{ctx}.fusion.export:main",
            },
        ),
    )
    return MappingProxyType({recipe.name: recipe for recipe in recipes})
