"""M205 condition-ignored."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model import InputEffect
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "M205",
    "condition-ignored",
    Severity.CRITICAL,
    needs=(InputEffect,),
    looked_at=requires(
        InputEffect,
        lambda effect, limits: effect.source not in ("x_t", "all inputs", "time") and effect.differs,
        thing="conditions",
    ),
    nothing=Threshold(1e-6, "round-off of float32"),
    least_share=Threshold(1e-5, "of the main effect, before training: healthy fresh networks measured 7e-4 and above"),
    least_trained=Threshold(1e-3, "of the main effect, after training: ignored conditions measured 3e-4 and below"),
    least_moved=Threshold(
        0.15, "a moved spot against a new one: pooled encoders measured 0.03 to 0.06 (padding), spatial ones 1.3 to 1.6"
    ),
)
def condition_ignored(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A condition does not reach the output, or only as one number for the whole image.

    What it finds:
        A view, modality or other condition that can be replaced by another patient's without the output noticing; or
        an image whose content arrives but not *where* it is, because it was pooled to a vector on the way.
    Why it stops learning:
        The network then models the targets without the evidence: it learns the average patient.
    Evidence it needs:
        InputEffect of each of `Case.conditions` (checks *input-effects* and *trained-input-effects*).
    How it decides:
        Zero-initialised heads and gates are drawn again, the timestep is noisy (alpha bar 0.1), and each condition is
        replaced by another sample's. A change of at most `nothing` of the output's spread is `demonstrated`. A change
        below `least_share` (`least_trained` after training) of what another x_t does, or of what other weights do if
        that is less (a network around an analytic output says little at first), is `suspected`, unless the trained
        model turns out to use it. If a flip does little, a bright spot is put on an
        even image, and then elsewhere: if moving it does less than `least_moved` of what its appearance does, the
        position is lost. That is `demonstrated` where the condition has the target's own shape (a registered
        modality), else `suspected`.
    Remedy:
        Concatenate the condition as channels or feature maps; keep its spatial layout up to the layer that joins it.
    Trial it proposes:
        None that is generic.
    Known false positives:
        A condition that is meant as a style vector loses its position on purpose.
    References:
        None; figures were measured on the fusion and X-ray to CT systems of the post-mortems.
    """
    effects = [effect for effect in evidence.of(InputEffect) if effect.differs]
    sources = dict.fromkeys(
        e.source for e in effects if e.change in ("other sample", "zero") and e.source not in ("x_t", "all inputs")
    )
    for source in sources:
        of = {
            trained: {e.change: e for e in effects if e.source == source and e.trained is trained}
            for trained in (False, True)
        }
        verdicts = {
            trained: _ignored(source, mine, limits) or _without_place(source, mine, limits)
            for trained, mine in of.items()
            if mine
        }
        fresh, after = verdicts.get(False), verdicts.get(True)
        if fresh is not None and True in verdicts and after is None and fresh.standing is Standing.SUSPECTED:
            continue  # little at first, used after training
        found = fresh or after
        if found is not None:
            yield found


def _ignored(source: str, mine: dict[str, InputEffect], limits: Limits) -> Found | None:
    effect = mine.get("other sample") or mine.get("zero")
    if effect is None:
        return None
    exact = effect.effect <= max(limits.nothing, effect.noise)
    main = min(value for value in (effect.reference, effect.learned, math.inf) if not math.isnan(value))
    least = limits.least_trained if effect.trained else limits.least_share
    little = main < math.inf and effect.effect < least * main
    if not exact and not little:
        return None
    by = "another patient's" if effect.change == "other sample" else "zeros"
    how = "nothing" if effect.effect == 0 else f"{effect.effect:.1e} of the output's spread"
    against = f" (another x_t: {effect.reference:.2g})" if effect.reference == effect.reference else ""
    model = " of the trained model" if effect.trained else ""
    return Found(
        message=f"The condition {source!r} is ignored{model}: replacing it by {by} changes {how}{against}.",
        standing=Standing.DEMONSTRATED if exact else Standing.SUSPECTED,
        location=effect.where,
        severity=None if exact else Severity.MAJOR,
        numbers={"effect": effect.effect, "effect_of_main_input": effect.reference, "repeat_noise": effect.noise},
        remedy=f"Follow {source!r} from the batch to the layer that should join it; concatenate it as channels or "
        "feature maps with the spatial layout it came with.",
    )


def _without_place(source: str, mine: dict[str, InputEffect], limits: Limits) -> Found | None:
    spot, moved = mine.get("spot"), mine.get("spot moved")
    if spot is None or moved is None or spot.effect <= 10 * limits.nothing:
        return None
    ratio = moved.effect / spot.effect
    if ratio >= limits.least_moved:
        return None
    return Found(
        message=f"Of {source!r} the network knows what is there but not where: moving a bright spot across it does "
        f"{100 * ratio:.1f} % of what the spot itself does. It was pooled to a vector on the way.",
        standing=Standing.DEMONSTRATED if moved.registered else Standing.SUSPECTED,
        location=moved.where,
        severity=Severity.MAJOR,
        numbers={"moved_over_appeared": round(ratio, 5), "effect_of_spot": spot.effect},
        remedy=f"Join {source!r} as feature maps (concatenation, spatial cross-attention) instead of a pooled vector.",
    )
