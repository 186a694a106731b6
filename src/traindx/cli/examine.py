"""``traindx examine``: find the faults of a case, prove them, and say what each is worth."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traindx.cli import session

if TYPE_CHECKING:
    from traindx.cli.session import Watch
    from traindx.config import Config
    from traindx.diagnosis import Diagnosis
    from traindx.host.programs import Program

EXAMPLES = (
    "traindx examine recipe:xray2ct --budget 0s",
    "traindx examine recipe:xray2ct --fault ddim-epsilon --budget 3m --out report",
    "traindx examine train.py --prove --budget 5m -- --epochs 3",
    "traindx examine train.ipynb",
    "traindx examine --cmd torchrun --nproc_per_node=2 train.py",
)


def examine(  # noqa: PLR0915  (one option a paragraph)
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(metavar="TARGET", help="TRAIN.py, TRAIN.ipynb, FOLDER, a command, CASE.py:case or recipe:NAME"),
    ] = None,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGS]", help="Arguments of a script, after --")
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option("--fault", metavar="NAME", help="Put a fault of the recipe in first; repeatable")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time for trials: 3m, 90s; 0s for none (3m by default)")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Evidence and reports (traindx-out/TARGET by default)")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the diagnosis as JSON on stdout, and nothing else")
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Paired seeds of the trials (3; of a script more while time is left)"),
    ] = None,
    select: Annotated[
        list[str] | None, typer.Option(metavar="CODES", help="Only these rules: S, or S501,M210; repeatable")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="CODES", help="Leave these rules out; repeatable")] = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="Where the model runs, such as cuda")] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="Script: iterations to watch, 0 for no limit (by default 300, and at least 20 s)"
        ),
    ] = None,
    until: Annotated[str, typer.Option(metavar="TIME", help="Script: time to watch; 0s for no limit")] = "120s",
    stop: Annotated[bool, typer.Option(help="Script: end it after that")] = True,
    module: Annotated[
        str | None, typer.Option("-m", metavar="MODULE", help="Script: run this module, as python -m does")
    ] = None,
    cmd: Annotated[
        bool, typer.Option("--cmd", help="Script: all that follows is the command that starts it, as it is typed")
    ] = False,
    prove: Annotated[
        bool, typer.Option("--prove", help="Script: run it again, paired, with and without each treatment")
    ] = False,
    alongside: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="SCRIPT",
            help='Script: one that belongs to it, "infer.py --weights best.pt", or the evidence folder of an earlier '
            "run; repeatable",
        ),
    ] = None,
    protect: Annotated[
        bool | None,
        typer.Option(
            "--protect/--no-protect",
            help="Script: put files it overwrites back afterwards (by default, but with --no-stop)",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Script: the figure that judges, as it reports it; NAME:lower, NAME:higher"),
    ] = None,
    claims: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Try claimed causes, promised gains beside measured"),
    ] = None,
    suspect: Annotated[
        list[str] | None,
        typer.Option("--suspect", metavar="WHAT", help="Script: try this: 'lr x10', without:TERM, 'line F:N = TEXT'"),
    ] = None,
    executor: Annotated[
        str, typer.Option(metavar="WHERE", help="Where trials run: processes, ray or ray:ADDRESS")
    ] = "processes",
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Trials at once, of a case or on a cluster (one a core)"),
    ] = None,
    battery: Annotated[
        bool, typer.Option("--battery", help="Script: try what needs no finding in the time that is left")
    ] = False,
) -> None:
    """Find the faults of a case, prove them by trials, and say what each is worth.

    A program is run unchanged under observation and ended after a while: TRAIN.py, TRAIN.ipynb, a FOLDER with one
    training script, -m MODULE (own arguments after --), or the command that starts it, as it is typed: torchrun,
    accelerate launch, python -m ..., nnUNetv2_train and any console script. With --prove it is then run again, paired,
    with and without the treatment of each finding, and judged by its own validation metric; its files are put back as
    they were after every such run.

    --suspect (repeatable) tries what you suspect: 'lr x10', 'lr /10', without:TERM, 'line FILE:N = STATEMENT',
    FILE.diff, KEY=VALUE, no-clipping, full-precision, constant-rate, eval-mode or train-mode.

    Exit code: 0 nothing above suspected, 1 findings, 2 wrong usage or input, 3 could not examine.
    """
    from traindx import config
    from traindx.cli.claims import listed_for, of_recipe
    from traindx.cli.doors import program
    from traindx.cli.script import ScriptOptions, examine_program
    from traindx.cli.target import parse
    from traindx.durations import seconds
    from traindx.errors import UsageError
    from traindx.extras import require
    from traindx.pipeline import select as select_rules
    from traindx.rules import catalogue
    from traindx.trials.ray_pool import address_of

    found = program(target, arguments or (), module=module, command=cmd)
    script = found is not None
    if metric is not None and not script:
        raise UsageError("--metric is for scripts", expected="a case, which names its metrics itself")
    if arguments and not script:
        raise UsageError(f"a case takes no arguments, but got {' '.join(arguments)}", expected="a script before them")
    if address_of(executor) is not None:
        require("cluster", f"--executor {executor}")
    listed = listed_for(claims, found.target if found is not None else "")
    if (suspect or battery) and not script:
        raise UsageError("--suspect and --battery are for scripts", expected="a script, with them before --")
    settings = config.load(_home(target, found))
    rules = catalogue()
    chosen = _codes(select) or settings.select
    left_out = _codes(ignore) or settings.ignore
    selected = config.resolve_codes(chosen, rules) if chosen else None
    ignored = config.resolve_codes(left_out, rules) if left_out else None
    thresholds = config.check_thresholds(settings.thresholds, rules)
    command = shlex.join(["traindx", *(context.obj or {}).get("argv", ["examine", target or ""])])
    if found is not None:
        options = ScriptOptions(
            steps=steps,
            until=until,
            stop=stop,
            prove=prove,
            budget=budget if budget is not None else settings.budget,
            seeds=_pairs(seeds, settings),
            metric=metric or "",
            suspects=tuple(suspect or ()),
            battery=battery,
            alongside=tuple(alongside or ()),
            protect=protect,
            claims=listed,
            executor=executor,
            workers=workers,
        )
        rules_in_force = select_rules(selected, ignored)
        code = examine_program(
            found,
            options,
            out=out,
            as_json=as_json,
            chosen=rules_in_force,
            thresholds=thresholds or None,
            command=command,
        )
        raise typer.Exit(code)
    parsed = parse(target or "")
    time = budget if budget is not None else settings.budget
    seconds(time)
    pairs = tuple(range(seeds)) if seeds is not None else settings.seed_list
    directory = out or session.default_directory("-".join([parsed.label, *(fault or ())]))
    if listed is not None:
        session.writable(directory)
        raise typer.Exit(of_recipe(target or "", listed, seconds(time), _pairs(seeds, settings), directory))

    def work(watch: Watch) -> Diagnosis:
        from traindx.examination import examine as run_examination
        from traindx.trials.reference import CaseReference

        arguments: dict[str, Any] = {"target": parsed.absolute, "faults": list(fault or ())}
        if device is not None:
            arguments["device"] = device
        reference = CaseReference(loader="traindx.cli.target:load_case", arguments=arguments)
        case = reference.build()  # as the workers will build it, with the same random numbers
        watch.begin(case.name, directory)
        return run_examination(
            case,
            budget=time,
            seeds=pairs,
            out=directory,
            reference=reference,
            select=selected,
            ignore=ignored,
            thresholds=thresholds or None,
            progress=watch.listener,
            command=command,
            workers=workers,
            executor=executor,
        )

    label = ", ".join([parsed.label, *(fault or ())])
    raise typer.Exit(session.run(work, label=label, out=directory, as_json=as_json, command=command))


def _pairs(seeds: int | None, settings: Config) -> tuple[int, ...]:
    """Seeds of the trials of a script; () where nobody says how many."""
    if seeds is not None:
        return tuple(range(seeds))
    return tuple(settings.seed_list) if "seeds" in settings.model_fields_set else ()


def _home(target: str | None, found: Program | None) -> Path:
    """Where the configuration is looked for."""
    from traindx.cli.target import parse

    if found is None:
        return parse(target or "").directory
    return Path() if found.is_module or not found.target.endswith((".py", ".ipynb")) else Path(found.target).parent


def _codes(given: list[str] | None) -> tuple[str, ...]:
    """Codes from options that are repeated, separated by commas, or both."""
    return tuple(code for text in given or () for code in text.replace(",", " ").split())
