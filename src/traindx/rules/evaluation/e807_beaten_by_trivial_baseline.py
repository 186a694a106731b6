"""E807 beaten-by-trivial-baseline."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.evaluation import BaselineScore
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "E807",
    "beaten-by-trivial-baseline",
    Severity.MINOR,
    needs=(BaselineScore,),
    looked_at=(
        requires(
            BaselineScore,
            lambda score, limits: score.name == "model" and len(score.values) >= limits.fewest,
            otherwise="the trained model was not scored",
        ),
        requires(
            BaselineScore, lambda score, limits: score.name != "model", otherwise="no trivial predictor could be scored"
        ),
    ),
    fewest=Threshold(2, "samples; one sample proves nothing"),
    margin_db=Threshold(
        1.0, "dB below a blind predictor: a quarter more squared error; short healthy trainings came to 0.1"
    ),
    margin=Threshold(0.1, "of the figure, for metrics in other units"),
)
def beaten_by_trivial_baseline(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The trained model is worse than something that needs no training.

    What it finds:
        A model below a constant, the mean of the training targets, another sample's target, the nearest neighbour or
        a copy of its input, under the case's own metric.
    Why it stops learning:
        It is a symptom: what the model has learned is worth less than knowing nothing of the patient. Other findings
        say why.
    Evidence it needs:
        BaselineScore of the baselines (check *baselines*) and of the model (check *model-score*).
    How it decides:
        On the same validation samples, the best baseline must be better on average and on more than half of them. If
        a predictor that knows no anatomy (a constant, zeros) beats the model by `margin_db` (or by `margin` of the
        figure, for other units), and so does another patient's target, which is what a perfect but blind generator
        would draw, it is `demonstrated`. The mean image and its like are strong baselines that short
        trainings do not reach, so being below them is `suspected`.
    Remedy:
        Look at the other findings first; then at the length of the training.
    Trial it proposes:
        None of its own.
    Known false positives:
        Metrics that reward blur (PSNR) put sharp generative models below the mean image.
    References:
        None.
    """
    scores = evidence.of(BaselineScore)
    model = next((score for score in reversed(scores) if score.name == "model"), None)
    if model is None or len(model.values) < limits.fewest:
        return
    sign = 1.0 if model.higher_is_better else -1.0

    def beats(score: BaselineScore) -> bool:
        pairs = list(zip(score.values, model.values, strict=False))
        wins = sum(sign * (mine - its) > 0 for mine, its in pairs)
        return sign * (score.mean - model.mean) > 0 and wins > len(pairs) / 2

    rivals = [score for score in scores if score.name != "model" and score.metric == model.metric and beats(score)]
    if not rivals:
        return
    margin = limits.margin_db if model.unit == "dB" else limits.margin * abs(model.mean)
    blind = [score for score in rivals if not score.informed and sign * (score.mean - model.mean) > margin]
    if not any(score.name == "another sample" for score in rivals):
        blind = []
    best = max(blind or rivals, key=lambda score: sign * score.mean)
    unit = f" {model.unit}" if model.unit else ""
    yield Found(
        message=f"The trained model reaches {model.mean:.2f}{unit} in {model.metric}, "
        f"{'a predictor that knows nothing' if blind else 'a trivial predictor'} ({best.name}) {best.mean:.2f}{unit} "
        f"on the same {len(model.values)} samples.",
        standing=Standing.DEMONSTRATED if blind else Standing.SUSPECTED,
        severity=None if blind else Severity.NOTE,
        numbers={"model": round(model.mean, 4), **{score.name: round(score.mean, 4) for score in rivals}},
        remedy="See the other findings for the cause; if there is none, train longer before anything else.",
    )
