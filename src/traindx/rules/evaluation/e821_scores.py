"""E821 figure-not-what-it-is-named, from scores tried on predictions whose score is known."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_functions import ScoreTried
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "E821",
    "figure-not-what-it-is-named",
    Severity.MAJOR,
    needs=(ScoreTried,),
    thing="scores that are computed by the script's own functions",
    perfect_score=Threshold(0.03, "distance from 1 of what perfect predictions have: smoothing constants stay below"),
    random_score=Threshold(0.97, "of predictions dealt at random, of which most are wrong"),
    random_rank=Threshold(0.25, "distance from 0.5 of an area under the curve of predictions dealt at random"),
    samples=Threshold(40, "samples, so that an area of random predictions stays within 0.2 of a half"),
)
def score_not_what_it_is_named(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """An AUC, an F1, an accuracy that is not 1 where every prediction is right, or the same for any predictions.

    The function is called again in a child process with as many samples of every class and with predictions in the
    form of the script's (probabilities, logits, classes), each of which is right and no two of which are equally sure.
    A score that is not within `perfect_score` of 1 then is `suspected`; so is one that is above `random_score` for the
    same predictions dealt to other samples, an area under the curve of those that is `random_rank` away from a half,
    and one that, for predictions with more mistakes in one class than in another, is another score to the third digit
    and not the one that it is named for: of one class, pooled or as a mean. No mean over classes, no threshold and no
    treatment of ties changes any of this.
    """
    for one in evidence.of(ScoreTried):
        if abs(one.perfect - 1) > limits.perfect_score:
            message = (
                f"{one.score} of {one.function} is {one.perfect:.3f} where every prediction is right"
                + (" and no two are equally sure" if one.ranks else "")
                + " (tried on as many samples of every class); by definition it is 1."
            )
            variant = "perfect"
        elif one.means:
            message = (
                f"{one.score} of {one.function} is {one.uneven:.3f} for predictions with known mistakes: that is their "
                f"{one.means}, and not their {one.score} in any way of averaging."
            )
            variant = "another-score"
        elif one.random >= limits.random_score:
            message = (
                f"{one.score} of {one.function} is {one.random:.3f} for predictions that are dealt at random, as for "
                "perfect ones: it does not depend on them."
            )
            variant = "random"
        elif one.score == "AUC" and one.samples >= limits.samples and abs(one.random - 0.5) > limits.random_rank:
            message = (
                f"{one.score} of {one.function} is {one.random:.3f} for predictions that are dealt at random; by "
                "definition it is about 0.5."
            )
            variant = "random"
        else:
            continue
        yield Found(
            message=message,
            location=one.where,
            numbers={"perfect": one.perfect, "random": one.random, "actual": one.actual},
            remedy="Compare the function with that of scikit-learn on a few samples.",
            variant=variant,
        )
