"""Scripts that are watched for real, in forks of a process with torch in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forked import Seen, Zygote, examined


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    made = Zygote()
    yield made
    made.close()


@pytest.fixture
def script(zygote: Zygote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seen]:
    """``script(source, *arguments)``: run it watched, and judge it with all rules."""
    monkeypatch.chdir(tmp_path)

    def run(source: str, *arguments: str, **settings: object) -> Seen:
        return examined(zygote, tmp_path, source, *arguments, **settings)

    return run
