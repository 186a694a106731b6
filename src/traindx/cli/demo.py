"""``traindx demo``: a real post-mortem, from a model that does not learn to one that does, on the packaged CT."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traindx.cli import session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from traindx.case import Case
    from traindx.cli.session import Watch
    from traindx.diagnosis import Diagnosis
    from traindx.trials.cure import Fixed
    from traindx.trials.training import Trained

EXAMPLES = ("traindx demo", "traindx demo --budget 2m --out demo-report")

RECIPE = "recipe:xray2ct"
FAULT = "postmortem"
LONGER = 2
"""The fixed model is trained this many times longer than a trial: trials compare, the fix is to be looked at."""

CLAIM = "The post-mortem promised +20 dB from the epsilon formula alone, with 99 % confidence."


def demo(
    context: typer.Context,
    budget: Annotated[str, typer.Option(metavar="TIME", help="Most time for training and trials")] = "15m",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the report goes")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the diagnosis as JSON on stdout only")] = False,
) -> None:
    """Diagnose, prove and fix a broken X-ray-to-CT diffusion model on a real CT.

    The patient has the four faults of its post-mortem: a wrong epsilon formula and raw timesteps in the sampler, a
    clamp of x0 to +-10, and a head that speaks for a coarse grid of tokens only. It is trained as it is, examined,
    tried with every combination of fixes that matters, fixed and trained again.

    Exit code: 0 if the demonstration worked (faults were found and the fixed model learns), else as `examine`.
    """
    from traindx.durations import seconds

    seconds(budget)
    directory = out or session.default_directory("demo")
    command = shlex.join(["traindx", *(context.obj or {}).get("argv", ["demo"])])
    fixed: list[Fixed] = []

    def work(watch: Watch) -> Diagnosis:
        from traindx.examination import examine
        from traindx.trials import CaseReference
        from traindx.trials.cure import cure

        arguments: dict[str, Any] = {"target": RECIPE, "faults": [FAULT]}
        reference = CaseReference(loader="traindx.cli.target:load_case", arguments=dict(arguments))
        case = reference.build()
        watch.begin(case.name, directory)
        diagnosis = examine(
            case, budget=budget, out=directory, reference=reference, progress=watch.listener, command=command
        )
        if diagnosis.trials is None:
            return diagnosis
        arguments["steps"] = LONGER * case.steps
        longer = CaseReference(loader=reference.loader, arguments=arguments).build()
        treatment = cure(longer, diagnosis.findings, diagnosis.trials, progress=watch.listener)
        if treatment is None:
            return diagnosis
        fixed.append(treatment)
        return _with_fix(diagnosis, case, treatment, directory)

    code = session.run(work, label="demo", out=directory, as_json=as_json, command=command)
    raise typer.Exit(0 if fixed and code == 1 else code)


def _with_fix(diagnosis: Diagnosis, case: Case, treatment: Fixed, directory: Path) -> Diagnosis:
    """The diagnosis with a section that shows truth, broken and fixed side by side."""
    from traindx.evidence import Curve, Evidence, Picture
    from traindx.trials import train_control

    table = diagnosis.trials
    assert table is not None
    broken = train_control(case, table.seeds[0], directory=directory)  # read back, not trained again
    panels, labels = _panels(case, broken, treatment)
    evidence = Evidence(directory)
    evidence.add_picture(
        Picture(
            name="before-and-after",
            caption="A validation patient: coronal slice of the CT, the two radiographs the model is given, and what "
            "it makes of them before and after the fix. Window [-1000, 1000] HU.",
            low=-1.0,
            high=1.0,
            labels=labels,
        ),
        panels,
    )
    steps = min(len(broken.losses), len(treatment.trained.losses))
    evidence.add(
        Curve(
            name="cure-loss",
            caption="Training loss before and after the fix, same data and seed",
            x=tuple(float(step) for step in range(1, steps + 1)),
            series={
                "as it was": tuple(broken.losses[:steps]),
                "cured": tuple(treatment.trained.losses[:steps]),
            },
            x_label="optimiser step",
            y_label="loss",
            log_y=True,
        )
    )
    evidence.close()
    arms = {arm.name: sum(arm.values) / len(arm.values) for arm in table.arms if arm.values}
    unit = table.unit
    rows = [("as its post-mortem describes it", f"{arms['none']:.1f} {unit}", str(table.steps))]
    rows += [(f"{baseline.name} (no model)", f"{baseline.value:.1f} {unit}", "") for baseline in table.baselines]
    rows.append(("fixed and trained again", f"{treatment.value:.1f} {unit}", str(treatment.trained.steps)))
    gain = treatment.value - arms["none"]
    section = {
        "title": "The fix",
        "text": f"With {', '.join(treatment.treatments)} in place the same data give {treatment.value:.1f} {unit} "
        f"instead of {arms['none']:.1f}: {gain:+.1f} {unit} after {treatment.trained.steps} steps. {CLAIM} "
        "What it is worth here, alone and given the rest, is in the table of trials.",
        "pictures": ("before-and-after",),
        "curves": ("cure-loss",),
        "table": {"head": ("model", table.metric, "steps"), "rows": rows},
    }
    return diagnosis.model_copy(
        update={
            "pictures": (*diagnosis.pictures, *evidence.of(Picture)),
            "curves": (*diagnosis.curves, *evidence.of(Curve)),
            "extras": {**diagnosis.extras, "sections": [section]},
        }
    )


def _panels(case: Case, broken: Trained, treatment: Fixed) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Radiographs, truth and both predictions of the first validation patient as equal panels in [-1, 1]."""
    import numpy as np
    import torch

    from traindx.core.batches import to_device

    batch = to_device(case.first_batches(1, "val")[0], case.device)
    assert case.target is not None
    volumes = [case.target(batch)]
    with torch.no_grad(), torch.random.fork_rng():
        for owner, trained in ((case, broken), (treatment.case, treatment.trained)):
            torch.manual_seed(0)
            trained.model.eval()
            with owner.open():
                volumes.append(owner.prediction(trained.model, batch))
    middle = volumes[0].shape[3] // 2
    slices = [volume[0, 0, :, middle].cpu().numpy().clip(-1, 1) for volume in volumes]
    radiographs = []
    for view in ("frontal", "lateral"):
        image = torch.nn.functional.interpolate(batch[view][:1].float(), size=slices[0].shape, mode="area")[0, 0]
        spread = (image - image.min()) / (image.max() - image.min()).clamp_min(1e-6)
        radiographs.append((2 * spread - 1).cpu().numpy())
    labels = ("frontal radiograph", "lateral radiograph", "CT (truth)", "before", "after the fix")
    return np.stack([*radiographs, *slices]), labels
