"""S503 schedule-inconsistent."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.sampling import SamplerRun, ScheduleTable
from traindx.finding import Location, Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.sampling._cause import THRESHOLDS, cause_of, consequence, number, numbers_of, runs_with


@rule(
    "S503",
    "schedule-inconsistent",
    Severity.MAJOR,
    needs=(ScheduleTable,),
    max_product_error=Threshold(
        1e-5, "32-bit products of 1000 factors err by 2e-6; a wrong table is off by 1e-3 and more"
    ),
    max_table_error=Threshold(0.01, "sqrt(ᾱ) of training against sampling; one timestep out of 1000 is 0.0016"),
    start_signal=Threshold(
        0.2, "sqrt(ᾱ) at the first sampled timestep: a fifth of the image that pure noise does not contain"
    ),
    start_signal_suspect=Threshold(
        0.05,
        "Stable Diffusion starts at 0.068 and its bias of the mean brightness is known (Lin et al. 2024); linear β "
        "at 0.006",
    ),
    stall_share=Threshold(0.01, "share of timesteps that add no noise; float32 tables have none"),
    **THRESHOLDS,
)
def schedule_inconsistent(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The noise schedule contradicts itself, or training and sampling do not share it.

    What it finds:
        ᾱ that is not the product of α = 1 − β, that rises, leaves [0, 1] or is not finite; another ᾱ table in sampling
        than in training; sampling from pure noise at a timestep whose training input still shows the image; an
        ε-prediction that starts where ᾱ = 0 and ε says nothing about the image.
    Why it stops learning:
        The network is trained at one noise level and asked at another. Where the start still holds signal in training,
        sampling never sees it, and the lowest frequencies (the mean, the gross anatomy) come out wrong.
    Evidence it needs:
        ScheduleTable (check *schedule*); SamplerRun (check *sampler*) for where sampling really starts and what it
        uses.
    How it decides:
        Largest |ᾱ − Π(1−β)| above `max_product_error`; any rise; difference of the square roots of two tables above
        `max_table_error`, or a loop every step of which is exact on another table (to `explained`); sqrt(ᾱ) at the
        first timestep above `start_signal` (demonstrated) or `start_signal_suspect` (suspected) while starting from
        noise. ᾱ_0 = 1 alone is no fault: it matters only where the loop divides by zero there.
    Remedy:
        Compute ᾱ once, keep it in one place, rescale it to zero terminal SNR and begin sampling at T−1 (diffusers:
        `rescale_betas_zero_snr=True`, `timestep_spacing="trailing"`, v-prediction).
    Trial it proposes:
        `reference-schedule`.
    Known false positives:
        Loops that start from a noised image, not from noise: say so with `starts_from_noise=False`.
    References:
        Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, eq. 4. Lin et al., Common Diffusion Noise
        Schedules and Sample Steps are Flawed, WACV 2024.
    """
    table = evidence.of(ScheduleTable)[-1]
    runs = evidence.of(SamplerRun)
    where = runs[0].call_where if runs else table.where
    yield from _by_itself(table, limits)
    if table.sampling_error > limits.max_table_error:
        yield _found(
            f"Training and sampling use different ᾱ: their square roots differ by {number(table.sampling_error)} at "
            f"timestep {table.sampling_error_at}.",
            {"difference": table.sampling_error, "timestep": table.sampling_error_at},
            "Use one table for both.",
            where,
        )
    else:
        for run in runs_with(evidence, limits, "table"):
            yield _found(
                f"Sampling follows another ᾱ than training: {number(run.other_table_alpha_bar)} at timestep "
                f"{run.other_table_timestep}. Each step is right by itself." + consequence(run),
                {**numbers_of(run), "alpha_bar_in_sampling": run.other_table_alpha_bar},
                "Use the schedule of training in the sampling loop.",
                run.where,
            )
    if runs:
        yield from _start(runs[0], limits)


def _by_itself(table: ScheduleTable, limits: Limits) -> Iterator[Found]:
    if not table.finite or table.lowest < 0 or table.highest > 1 + 1e-6:
        yield _found(
            f"ᾱ runs from {number(table.lowest)} to {number(table.highest)}"
            + ("" if table.finite else " and is not finite")
            + "; it must stay within 0 and 1.",
            {"lowest": table.lowest, "highest": table.highest, "finite": table.finite},
            "Recompute ᾱ as the cumulative product of 1 − β with β in (0, 1).",
            table.where,
        )
        return
    if table.rises:
        yield _found(
            f"ᾱ rises {table.rises} times along the timesteps, by up to {number(table.largest_rise)}; it must fall "
            "from "
            "index 0 (least noise) to T−1.",
            {"rises": table.rises, "largest_rise": table.largest_rise},
            "Sort out the order of the table (index 0 = least noise) and recompute it from β.",
            table.where,
        )
    elif table.stalls > limits.stall_share * table.timesteps:
        yield _found(
            f"ᾱ does not change at {table.stalls} of {table.timesteps} timesteps, so these steps add no noise.",
            {"stalls": table.stalls, "timesteps": table.timesteps},
            "Check the range of β.",
            table.where,
            standing=Standing.SUSPECTED,
        )
    if table.product_error > limits.max_product_error:
        yield _found(
            f"ᾱ is not the product of 1 − β: they differ by {number(table.product_error)} at timestep "
            f"{table.product_error_at}.",
            {"difference": table.product_error, "timestep": table.product_error_at},
            "Compute ᾱ = cumprod(1 − β) from the β that the sampling loop uses.",
            table.where,
        )


def _start(run: SamplerRun, limits: Limits) -> Iterator[Found]:
    at = f"at timestep {run.timesteps[0]} of {run.table_length}"
    if run.prediction == "epsilon" and run.start_alpha_bar < 1e-8 and run.nonfinite_step == 0:
        yield _found(
            f"Sampling starts {at}, where ᾱ = 0, with a network that predicts ε: there ε says nothing about the "
            "image, and x̂0 is a division by zero.",
            {"alpha_bar": run.start_alpha_bar, "timestep": run.timesteps[0]},
            "Predict v or x0 with a schedule of zero terminal SNR.",
            run.call_where,
            treatment="",
        )
    if cause_of(run, limits) in ("upwards", "no clock", "time"):
        return  # the first timestep itself is wrong, and is reported as such
    signal = max(0.0, run.start_alpha_bar) ** 0.5
    if run.starts_from_noise and signal > limits.start_signal_suspect:
        severe = signal > limits.start_signal
        yield _found(
            f"Sampling starts from pure noise {at}, but in training the input there still contains the image with "
            f"amplitude √ᾱ = {number(signal)}.",
            {"signal_amplitude": signal, "timestep": run.timesteps[0], "alpha_bar": run.start_alpha_bar},
            "Begin at T−1 ('trailing' timesteps) and rescale the schedule to zero terminal SNR.",
            run.call_where,
            standing=Standing.DEMONSTRATED if severe else Standing.SUSPECTED,
            severity=None if severe else Severity.MINOR,
        )


def _found(
    message: str,
    numbers: dict[str, float | int | str | bool],
    remedy: str,
    where: Location | None,
    *,
    standing: Standing = Standing.DEMONSTRATED,
    severity: Severity | None = None,
    treatment: str = "reference-schedule",
) -> Found:
    return Found(
        message=message,
        standing=standing,
        location=where,
        numbers=numbers,
        remedy=remedy,
        proposals=(Proposal(treatment=treatment),) if treatment else (),
        severity=severity,
    )
