"""Worker processes: the same figures as in one process, and nothing left behind whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from trial_cases import finding, noisy_regression, untimed

from traindx.errors import CaseError, InputError
from traindx.trials import CaseReference, run_trials
from traindx.trials.control import threads, trial_threads, worker_count
from traindx.trials.executor import InProcess, Pool
from traindx.trials.jobs import Job, run_job

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups are those of POSIX")

HERE = Path(__file__).parent / "trial_cases.py"
REFERENCE = CaseReference(f"{HERE}:noisy_regression", {"steps": 40})
SLEEPER = CaseReference(f"{Path(__file__)}:sleeper", {})


def sleeper():
    """A case that trains for ever, and says on which process."""
    case = noisy_regression(steps=100000)
    loss = case.loss

    def slow(model, batch):
        time.sleep(0.05)
        return loss(model, batch)

    return case.replace(loss=slow)


def suicidal():
    """A case whose process dies in training."""

    def loss(model, batch):
        os.kill(os.getpid(), signal.SIGKILL)

    return noisy_regression(steps=5, loss=loss)


def no_case():
    raise ValueError("no such scan")


def always(job):
    return True


def quiet(job, step, steps):
    return None


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")


def gone(pids, seconds=5.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(alive(pid) for pid in pids):
        time.sleep(0.05)
    return not any(alive(pid) for pid in pids)


def test_workers_give_the_same_bits_and_survive_a_kill(tmp_path):
    jobs = [Job(seed=seed, steps=40) for seed in (0, 1, 2)]
    with Pool(REFERENCE, 2, log=tmp_path / "log") as pool:
        pool.start()
        pids = [worker.process.pid for worker in pool._running]
        os.kill(pids[0], signal.SIGKILL)  # before it has done anything: its job is tried again
        results = {job.seed: result for job, result in pool.run(jobs, quiet, always)}
        pids += [worker.process.pid for worker in pool._running]
    assert gone(pids)
    with threads(1):
        case = REFERENCE.build()
        for job in jobs:
            expected = run_job(case, job)
            assert results[job.seed].weights == expected.weights
            assert results[job.seed].arms[0].values == expected.arms[0].values
            assert not results[job.seed].broke


def test_a_job_that_kills_its_worker_twice_is_broken_and_the_others_go_on():
    reference = CaseReference(f"{Path(__file__)}:suicidal")
    with Pool(reference, 1) as pool:
        ((_, result),) = pool.run([Job(seed=0, steps=5)], quiet, always)
    assert result.died
    assert "died 2 times, last by signal 9 (SIGKILL); out of memory?" in result.broke


def test_a_case_that_workers_cannot_build_is_an_error_with_its_line():
    with Pool(CaseReference(f"{Path(__file__)}:no_case"), 1) as pool:
        with pytest.raises(CaseError, match=r"test_trials_pool.py:\d+: ValueError: no such scan"):
            list(pool.run([Job(seed=0, steps=5)], quiet, always))
        pids = [worker.process.pid for worker in pool._running]
    assert gone(pids)


def test_a_worker_past_its_deadline_is_stopped():
    job = Job(seed=0, steps=100000, deadline=time.time() + 8)
    with Pool(SLEEPER, 1, grace=0.5) as pool:
        ((_, result),) = pool.run([job], quiet, always)
        assert time.time() < job.deadline + 3
        pids = [worker.process.pid for worker in pool._running]
    assert result.unfinished
    assert gone(pids)


SCRIPT = """
import sys, threading, time
sys.path.insert(0, {here!r})
from traindx.trials import CaseReference, run_trials
from test_trials_pool import sleeper
from trial_cases import finding

if __name__ == "__main__":
    run_trials(sleeper(), [finding("L302", ("drop-term", {{"term": "shrink"}}))], budget=300, workers=2,
               reference=CaseReference({loader!r}), progress=lambda item: print(item.message, flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_no_worker_outlives_the_trial(tmp_path, number):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(here=str(Path(__file__).parent), loader=SLEEPER.loader))
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True
    )
    try:
        assert "training" in process.stdout.readline()
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
        pids = [int(pid) for pid in children.stdout.split()]
        assert len(pids) >= 2
        os.kill(process.pid, number)
        errors = process.communicate(timeout=20)[1]
        assert process.returncode != 0
        assert gone(pids, seconds=10)
        if number == signal.SIGINT:
            assert errors.count("KeyboardInterrupt") == 1  # the parent's own, and none of a worker
    finally:
        process.kill()


@pytest.mark.slow
def test_a_trial_in_workers_gives_the_table_of_one_process(tmp_path):
    findings = [finding("L302", ("drop-term", {"term": "shrink"})), finding("O402", ("learning-rate", {"factor": 0.5}))]
    case = REFERENCE.build()
    with threads(1):
        alone = run_trials(case, findings, budget=100)
    together = run_trials(case, findings, budget=100, reference=REFERENCE, workers=2, directory=tmp_path)
    assert untimed(together) == untimed(alone)
    assert torch.get_num_threads() >= 1
    # and a second call needs no worker to do anything again
    lines = (tmp_path / "trials.jsonl").read_text()
    again = run_trials(case, findings, budget=100, reference=REFERENCE, workers=2, directory=tmp_path)
    assert again.arms == together.arms
    assert (tmp_path / "trials.jsonl").read_text() == lines


def test_workers_need_a_reference_and_a_cpu():
    assert worker_count(None, 8) == 1
    assert worker_count(REFERENCE, 3) == 3
    assert worker_count(REFERENCE, None) >= 1
    assert worker_count(REFERENCE, 3, "cuda:0") == 1
    assert trial_threads(2) == 1
    assert trial_threads(1) == torch.get_num_threads()


@pytest.mark.parametrize(
    ("loader", "says"),
    [
        ("nonsense", "names no case"),
        ("no.such.module:case", "cannot be imported"),
        ("no_such_file.py:case", "does not exist"),
        (f"{HERE}:no_such_name", "has no no_such_name"),
        (f"{HERE}:T", "is int"),
    ],
)
def test_references_that_lead_nowhere_are_named(loader, says):
    with pytest.raises(InputError, match=says):
        CaseReference(loader).build()


def test_a_reference_builds_the_same_case_whatever_the_random_state():
    torch.manual_seed(1)
    first = CaseReference(f"{Path(__file__)}:random_case").build().train[0]["x"]
    torch.manual_seed(2)
    assert torch.equal(first, CaseReference(f"{Path(__file__)}:random_case").build().train[0]["x"])


def random_case():
    return noisy_regression(train=[{"x": torch.randn(2, 6), "y": torch.zeros(2, 1)}])


def test_in_process_runs_what_may_start():
    executor = InProcess(REFERENCE.build())
    jobs = [Job(seed=seed, steps=2) for seed in (0, 1, 2)]
    ran = [job.seed for job, _ in executor.run(jobs, quiet, lambda job: job.seed != 1)]
    assert ran == [0, 2]
    executor.close()
