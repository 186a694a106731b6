"""Why a rule could not judge a data folder: what the folder does not have, or a table that was not given."""

from __future__ import annotations

from dataclasses import dataclass

from traindx.evidence import Action, Evidence
from traindx.evidence.dataset import FileCensus
from traindx.pipeline import Absence, Scope
from traindx.rules import Rule
from traindx.rules.fronts import Front

_TO_GIVE = {
    "LabelColumn": "no table of labels was given (--labels) or found in the folder",
    "BoxTable": "no table of boxes was given (--boxes) or found in the folder",
    "BoxesOnMap": "no table of boxes was given (--boxes) or found in the folder",
    "LabelBoxAgreement": "no table of labels and table of boxes share the name of a class",
    "SplitOverlap": "no splits are known (--splits, a split column, folders train/val/test), or there is one only",
}
_MISSING = {
    "Copies": "there is no image",
    "GeometrySpread": "no set has two members whose spacing is known",
    "UnreadableFiles": "there is no file of a kind that is read",
    "NonFiniteVoxels": "there is no image",
    "IntensitySpread": "there is no image that is not constant",
    "ImageSet": "there is no image",
    "Polarity": "there is no image",
}


@dataclass(frozen=True)
class DataScope(Scope):
    """What could be seen of a folder."""

    front: Front = Front.DATA

    @classmethod
    def of(cls, evidence: Evidence) -> DataScope:
        """The scope of a folder that was read: enough with one image or mask."""
        census = evidence.last(FileCensus)
        seen = census is not None and census.images + census.masks > 0
        return cls(enough=seen, unseen=() if seen else ("no image was read",))

    def absent(self, decider: Rule) -> Absence:
        """The table that was not given, or what the folder has none of."""
        for kind in decider.needs:
            if kind.__name__ in _TO_GIVE:
                return Absence(_TO_GIVE[kind.__name__], Action.GIVE)
        usual = super().absent(decider)
        reasons = [_MISSING[kind.__name__] for kind in decider.needs if kind.__name__ in _MISSING]
        return usual if usual.thing or not reasons else Absence("; ".join(reasons))
