"""Lists of claimed causes with the gain that each was promised to bring, as a post-mortem makes them.

.. code-block:: yaml

    source: post-mortem of the surface segmentation
    recipe: segmentation
    claims:
      - claim: the variance term makes the output collapse
        promised: main cause
        fault: variance-term      # of a recipe: what taking it out is worth
      - claim: clip the target to soft tissue
        promised: +4 dB
        put: window-soft-tissue   # of a recipe: what the advice, put in, is worth

.. code-block:: yaml

    source: review of our training
    script: train.py              # the program that is examined; may be left out
    claims:
      - claim: the rate is too high
        promised: +1 dB
        suspect: lr /10           # what is tried, in any form of --suspect
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traindx.errors import UsageError
from traindx.extras import MissingExtraError
from traindx.finding import Effect

KINDS = ("fault", "put", "suspect")


@dataclass(frozen=True)
class Claim:
    """One claimed cause.

    Attributes:
        claim: In the words of its author.
        promised: The gain that was promised, as it was promised.
        kind: ``fault`` or ``put`` of a recipe, or ``suspect`` of a script.
        what: The fault's name, or what is tried.
        beside: Faults of the recipe that are in place before and after.
    """

    claim: str
    promised: str
    kind: str
    what: str
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClaimList:
    """A list of claims.

    Attributes:
        source: Whose they are.
        recipe: The recipe that they are about; empty for a script.
        claims: The claims.
        script: File name of the script that they are about; empty for any.
    """

    source: str
    recipe: str
    claims: tuple[Claim, ...]
    script: str = ""


@dataclass(frozen=True)
class Tried:
    """A claim and what was measured.

    Attributes:
        claim: The claim.
        verdict: One word.
        metric: Figure that judged.
        unit: Its unit.
        effect: Paired effect, positive is better; None where nothing was measured.
        why: The sentence behind the word.
    """

    claim: Claim
    verdict: str
    metric: str
    unit: str
    effect: Effect | None
    why: str

    @property
    def measured(self) -> str:
        """The gain and its interval, or a dash."""
        if self.effect is None or not math.isfinite(self.effect.mean):
            return "–"
        text = f"{self.effect.mean:+.3g}"
        if math.isfinite(self.effect.low):
            text += f" [{self.effect.low:+.3g}, {self.effect.high:+.3g}]"
        return f"{text} {self.unit}".strip()


def load(path: Path) -> ClaimList:
    """Read a list of claims.

    Raises:
        UsageError: It does not exist, is no YAML, or is not of the form above.
    """
    try:
        import yaml  # not a dependency of the core
    except ImportError as error:
        raise MissingExtraError("a list of claims needs yaml, not installed here", do="pip install pyyaml") from error
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read: {error}", expected="a YAML file with claims") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("claims"), list) or not fields["claims"]:
        raise UsageError(f"{path} holds no claims", expected="claims: a list, each with one of fault, put and suspect")
    recipe = str(fields.get("recipe") or "")
    claims = tuple(_claim(entry, recipe, path) for entry in fields["claims"])
    return ClaimList(str(fields.get("source") or path.stem), recipe, claims, Path(str(fields.get("script") or "")).name)


def _claim(entry: Any, recipe: str, path: Path) -> Claim:
    kinds = [kind for kind in KINDS if isinstance(entry, dict) and entry.get(kind)]
    if len(kinds) != 1:
        raise UsageError(f"a claim of {path} names {len(kinds)} things to try", expected=f"one of {', '.join(KINDS)}")
    suspect = kinds[0] == "suspect"
    if not recipe and not suspect:
        raise UsageError(f"{path} does not say which recipe its claims are about", expected="recipe: NAME")
    if recipe and suspect:
        raise UsageError(f"a claim of {path} about a recipe names a suspect", expected="fault: NAME or put: NAME")
    beside = entry.get("beside") or []
    if beside and suspect:
        raise UsageError(f"a suspect of {path} has something beside it", expected="beside only with fault and put")
    return Claim(
        claim=str(entry.get("claim") or entry[kinds[0]]),
        promised=str(entry.get("promised") or "not said"),
        kind=kinds[0],
        what=str(entry[kinds[0]]),
        beside=tuple(str(name) for name in ([beside] if isinstance(beside, str) else beside)),
    )


def markdown(source: str, tried: Sequence[Tried]) -> str:
    """The claims as a table, promised gains beside measured ones."""
    lines = [
        f"Claims of {source}",
        "",
        "| claim | promised | measured | verdict | why |",
        "|---|---|---|---|---|",
    ]
    for one in tried:
        cells = (one.claim.claim, one.claim.promised, one.measured, one.verdict, one.why)
        lines.append("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
