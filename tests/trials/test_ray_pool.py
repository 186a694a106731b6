"""The same figures from the actors of a Ray cluster as from this process, and what becomes of one that dies."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from test_trials_pool import HERE, REFERENCE, SLEEPER, always, gone, quiet
from trial_cases import finding, untimed

from traindx.errors import CaseError, UsageError
from traindx.extras import MissingExtraError, missing
from traindx.trials import CaseReference, run_trials
from traindx.trials.control import threads
from traindx.trials.jobs import Job, run_job
from traindx.trials.ray_pool import RayPool, address_of, sent

ray = pytest.mark.skipif(bool(missing("cluster")), reason="needs ray: pip install 'traindx[cluster]'")


@pytest.mark.parametrize(
    ("given", "address"), [("processes", None), ("ray", ""), ("ray:10.0.0.2:6379", "10.0.0.2:6379")]
)
def test_an_executor_by_name(given: str, address: str | None) -> None:
    assert address_of(given) == address


def test_an_executor_that_is_unknown_or_not_installed_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="processes, ray or ray:ADDRESS"):
        address_of("slurm")
    monkeypatch.setattr("traindx.extras.missing", lambda extra: ["ray"])
    with pytest.raises(MissingExtraError, match=r"traindx\[cluster\]"):
        RayPool(REFERENCE, 2)


def test_a_case_file_is_sent_with_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's paths is left in what another machine gets."""
    monkeypatch.setenv("TRAINDX_DATA", "/data")
    reference, environment = sent(REFERENCE)
    assert reference.loader == "trial_cases.py:noisy_regression"
    assert reference.arguments == REFERENCE.arguments
    assert environment["working_dir"] == str(HERE.parent)
    assert environment["env_vars"]["TRAINDX_DATA"] == "/data"
    by_name = CaseReference("package.module:case")
    assert sent(by_name)[0] == by_name
    assert "working_dir" not in sent(by_name)[1]


def test_a_cluster_needs_a_reference() -> None:
    with pytest.raises(UsageError, match="a cluster cannot build this case"):
        run_trials(REFERENCE.build(), [], budget=1, executor="ray")


@ray
@pytest.mark.slow
def test_actors_give_the_same_bits_and_survive_a_kill() -> None:
    jobs = [Job(seed=seed, steps=40) for seed in (0, 1, 2)]
    with RayPool(REFERENCE, 2) as pool:
        pool.start()
        processes = list(pool.processes())
        os.kill(processes[0], signal.SIGKILL)
        results = {job.seed: result for job, result in pool.run(jobs, quiet, always)}
        processes += list(pool.processes())
    assert len(set(processes)) == 3
    assert gone(processes)
    with threads(1):
        case = REFERENCE.build()
        for job in jobs:
            expected = run_job(case, job)
            assert results[job.seed].weights == expected.weights
            assert results[job.seed].arms[0].values == expected.arms[0].values
            assert not results[job.seed].broke


@ray
@pytest.mark.slow
def test_what_a_worker_cannot_build_or_end_is_said() -> None:
    folder = Path(__file__).parent
    unbuildable = RayPool(CaseReference(f"{folder / 'test_trials_pool.py'}:no_case"), 1)
    with unbuildable, pytest.raises(CaseError, match=r"test_trials_pool.py:\d+: ValueError: no such scan"):
        list(unbuildable.run([Job(seed=0, steps=5)], quiet, always))
    with RayPool(CaseReference(f"{folder / 'test_trials_pool.py'}:suicidal"), 1) as pool:
        ((_, result),) = pool.run([Job(seed=0, steps=5)], quiet, always)
        assert result.died
        assert "died 2 times" in result.broke
    with RayPool(SLEEPER, 1, grace=0.5) as pool:
        pool.start()
        job = Job(seed=0, steps=100000, deadline=time.time() + 3)
        ((_, result),) = pool.run([job], quiet, always)
        assert result.unfinished
        assert time.time() < job.deadline + 30


@ray
@pytest.mark.slow
def test_a_trial_on_ray_gives_the_table_of_one_process(tmp_path: Path) -> None:
    findings = [finding("L302", ("drop-term", {"term": "shrink"})), finding("O402", ("learning-rate", {"factor": 0.5}))]
    case = REFERENCE.build()
    with threads(1):
        alone = run_trials(case, findings, budget=100)
    together = run_trials(
        case, findings, budget=100, reference=REFERENCE, workers=2, directory=tmp_path, executor="ray"
    )
    assert untimed(together) == untimed(alone)
