"""A tiny X-ray-to-CT case: 16 voxels a side, twelve volumes, made once."""

from __future__ import annotations

import os

import pytest

from traindx import Case
from traindx.recipes.xray2ct.case import make_case, system_of
from traindx.recipes.xray2ct.system import System


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    before = os.environ.get("TRAINDX_CACHE")
    os.environ["TRAINDX_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        os.environ.pop("TRAINDX_CACHE")
    else:
        os.environ["TRAINDX_CACHE"] = before


@pytest.fixture(scope="session")
def case() -> Case:
    return make_case(size=16, source="embedded", train=12, val=4)


@pytest.fixture(scope="session")
def system(case: Case) -> System:
    return system_of(case)
