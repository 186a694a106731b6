"""Begin a collector of the watching: its file and its registration. It runs in the user's process and changes nothing.

python scripts/new_collector.py momentum --record OptimizerSeen --module observed_optim
"""

from __future__ import annotations

import argparse

from scaffolding import SOURCE, camel, register, run, snake, tidy, write

COLLECTOR = '''"""TODO: what is watched, in one line."""

from __future__ import annotations

from collections.abc import Iterable

from traindx.evidence.{module} import {record}
from traindx.watch.runtime.watch import Collector, Watch


class {name}(Collector):
    """TODO: what it sees. Another collector that it uses is named in ``__init__`` by its type and handed in."""

    subject = "{subject}"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._seen: list[{record}] = []

    def install(self) -> None:
        """Patch torch through ``self.watch.patches.wrap``; called once, right after it was imported."""
        raise NotImplementedError("{name} sees nothing yet")

    def records(self) -> Iterable[{record}]:
        """Everything seen so far."""
        return tuple(self._seen)
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="kebab-case, the subject")
    parser.add_argument("--record", default="NotExamined", help="record type of src/traindx/evidence that it writes")
    parser.add_argument("--module", default="base", help="module of src/traindx/evidence that the record is in")
    given = parser.parse_args()
    module = snake(given.name)
    path = SOURCE / "watch" / "collectors" / f"{module}.py"
    words = {"name": camel(given.name), "subject": given.name.replace("-", " ")}
    write(path, COLLECTOR.format(**words, record=given.record, module=given.module))
    tidy(path)
    register(
        SOURCE / "watch" / "runtime" / "assembly.py",
        f"from traindx.watch.collectors.{module} import {camel(given.name)}",
        "COLLECTORS: tuple[type[Collector], ...] = (",
        camel(given.name),
        before="_Early",  # the probes come after the collectors, which they ask
    )


if __name__ == "__main__":
    run(main)
