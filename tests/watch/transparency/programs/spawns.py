"""`multiprocessing` by fork, spawn and forkserver, with pools, queues and classes of `__main__`"""

import multiprocessing
from dataclasses import dataclass

from loop import trained


@dataclass
class Job:
    """What a process is given."""

    seed: int


def work(job: Job) -> tuple[int, str, str]:
    return job.seed, trained(5, job.seed), type(job).__module__


if __name__ == "__main__":
    print(trained())
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(method, pool.map(work, [Job(1), Job(2)]))
    print(trained())
