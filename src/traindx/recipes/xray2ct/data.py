"""Batches: volumes, their radiographs rendered once and cached, and the loaders that hand them out."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from traindx.diagnosis import Diagnosis
from traindx.errors import InputError
from traindx.recipes.xray2ct.folders import load_folder
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry
from traindx.recipes.xray2ct.given_views import read_radiographs, verify_views
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
from traindx.recipes.xray2ct.population import Variation
from traindx.recipes.xray2ct.radiograph import (
    MU_WATER_PER_MM,
    from_network,
    line_integral,
    mu_from_hu,
    to_network,
)
from traindx.recipes.xray2ct.sources import Patients, Source, load, resolve, verified
from traindx.version import __version__

CACHE_VERSION = 2
"""Part of every key: raise it when what is cached is computed differently."""


@dataclass(frozen=True)
class DataOptions:
    """Which volumes, how large, and how they are handed out.

    Attributes:
        source: ``embedded``, ``openkbp`` or ``auto``, see :func:`~traindx.recipes.xray2ct.sources.resolve`; or
            ``folder``, see :func:`~traindx.recipes.xray2ct.folders.load_folder`.
        size: Voxels along each axis, and pixels along each side of a radiograph.
        train: Most training volumes.
        val: Most validation volumes.
        seed: Seed of the deformations of the packaged patient.
        batch_size: Volumes in a training batch.
        window: Hounsfield window of the target.
        cache: Folder for rendered radiographs; None for the user's cache folder, ``""`` for none at all.
        folder: Volumes of the source ``folder``.
        split: CSV that says who is trained on, for the source ``folder``.
        radiographs: Folder of given radiographs, see :mod:`~traindx.recipes.xray2ct.given_views`; rendered by default.
        radiograph_scale: Line integral of a grey level of given radiographs.
    """

    source: Source = "auto"
    size: int = 32
    train: int = 48
    val: int = 8
    seed: int = 0
    batch_size: int = 4
    window: HounsfieldWindow = field(default_factory=HounsfieldWindow)
    cache: str | None = None
    folder: str | None = None
    split: str | None = None
    radiographs: str | None = None
    radiograph_scale: float = 1.0

    def __post_init__(self) -> None:
        if (self.source == "folder") != (self.folder is not None and self.split is not None):
            raise InputError(
                f"the source is {self.source}, with folder {self.folder} and split {self.split}",
                expected="the source folder together with a folder of CT volumes and a CSV of their split",
            )


class Radiographed(Dataset[dict[str, Any]]):
    """Volumes with their radiographs.

    An item has ``ct`` (network values, ``(1, D, H, W)``), ``hu`` (raw), one radiograph a view (network values,
    ``(1, h, w)``) and ``id``.

    Args:
        patients: The volumes.
        radiographs: One tensor ``(N, 1, h, w)`` a view.
        window: Hounsfield window of ``ct``.
    """

    def __init__(self, patients: Patients, radiographs: Mapping[str, Tensor], window: HounsfieldWindow) -> None:
        self.patients = patients
        self.radiographs = radiographs
        self.window = window

    def __len__(self) -> int:
        return len(self.patients)

    def prior(self) -> tuple[Tensor, float]:
        """The mean volume in network values, ``(1, 1, D, H, W)``, and the standard deviation of volumes around it."""
        volumes = self.window.encode(self.patients.hu)
        mean = volumes.mean(dim=0, keepdim=True)
        return mean, float((volumes - mean).std())

    def __getitem__(self, index: int) -> dict[str, Any]:
        hu = self.patients.hu[index]
        views = {view: image[index] for view, image in self.radiographs.items()}
        return {"ct": self.window.encode(hu), "hu": hu, **views, "id": self.patients.ids[index]}


@dataclass(frozen=True)
class Data:
    """Everything a training needs.

    Attributes:
        options: How it was made.
        geometry: The geometry of the radiographs.
        train: Training volumes.
        val: Validation volumes.
    """

    options: DataOptions
    geometry: ConeGeometry
    train: Radiographed
    val: Radiographed

    def train_batches(self) -> DataLoader[dict[str, Any]]:
        """Shuffled batches, in an order drawn from the global torch seed at each pass."""
        return DataLoader(self.train, self.options.batch_size, shuffle=True, drop_last=True)

    def val_batches(self) -> DataLoader[dict[str, Any]]:
        """Validation batches in their fixed order, eight volumes each."""
        return DataLoader(self.val, min(8, len(self.val)))

    def windowed(self, window: HounsfieldWindow) -> Data:
        """The same patients and radiographs under another window of the target."""
        parts = (Radiographed(part.patients, part.radiographs, window) for part in (self.train, self.val))
        return Data(self.options, self.geometry, *parts)


def prepare(options: DataOptions) -> Data:
    """Load the volumes and render their radiographs, or read both from the cache.

    Raises:
        InputError: The source is not there.
    """
    key = _key(options)
    path = _cache_file(options.cache, key)
    found = _read(path)
    if found is None:
        if options.folder is not None and options.split is not None:
            train, val = load_folder(
                Path(options.folder), Path(options.split), options.size, options.train, options.val
            )
        else:
            train, val = load(options.source, options.size, options.seed, options.train, options.val)
        geometry = geometry_of(train)
        views = [_views(part, geometry, options) for part in (train, val)]
        _write(path, train, val, views)
    else:
        train, val, views = found
        geometry = geometry_of(train)
    parts = (Radiographed(part, images, options.window) for part, images in zip((train, val), views, strict=True))
    return Data(options, geometry, *parts)


def verified_options(options: DataOptions, out: Path) -> Diagnosis:
    """Verify the volumes that a training is given, as they lie on disk; see :func:`traindx.data.verify`."""
    if options.folder is not None and options.split is not None:
        return verified(options.source, out, Path(options.folder), Path(options.split))
    return verified(options.source, out)


def _key(options: DataOptions) -> dict[str, Any]:
    """All that what is cached depends on."""
    kind: str = options.source
    files: list[Any] = []
    if options.source == "folder":
        places = [Path(place) for place in (options.folder, options.split, options.radiographs) if place is not None]
        for place in places:
            inside = sorted(place.rglob("*")) if place.is_dir() else [place]
            files += [[str(item), item.stat().st_size, item.stat().st_mtime_ns] for item in inside if item.is_file()]
    else:
        kind, folder = resolve(options.source)
        if folder is not None:
            stamp = (folder / "ct64.npz").stat()
            files = [str(folder), stamp.st_size, stamp.st_mtime_ns]
    return {
        "cache": CACHE_VERSION,
        "version": __version__,
        "source": kind,
        "file": files,
        "size": options.size,
        "train": options.train,
        "val": options.val,
        "seed": options.seed if kind == "embedded" else 0,
        "variation": asdict(Variation()) if kind == "embedded" else {},
        "radiographs": [options.radiographs, options.radiograph_scale],
        "mu_water": MU_WATER_PER_MM,
        "geometry": asdict(ConeGeometry((1, 1, 1), (1.0, 1.0, 1.0), (1, 1))),  # the distances; sizes follow from above
    }


def _views(patients: Patients, geometry: ConeGeometry, options: DataOptions) -> dict[str, Tensor]:
    """Radiographs in network values: rendered, or given and compared with what is rendered."""
    rendered = radiographs(patients, geometry)
    if options.radiographs is None:
        return rendered
    given = read_radiographs(Path(options.radiographs), patients.ids, geometry, options.radiograph_scale)
    verify_views(given, {view: from_network(image) for view, image in rendered.items()}, patients.ids)
    return {view: to_network(image) for view, image in given.items()}


def geometry_of(patients: Patients) -> ConeGeometry:
    """Radiographs with as many pixels each way as the volume has voxels."""
    d, h, w = patients.hu.shape[2:]
    return ConeGeometry((d, h, w), patients.spacing_mm, (d, max(h, w)))


def radiographs(patients: Patients, geometry: ConeGeometry, chunk: int = 16) -> dict[str, Tensor]:
    """Render every patient in every view, in network values, shape ``(N, 1, h, w)``."""
    out = {}
    with torch.no_grad():
        for view in VIEWS:
            parts = [line_integral(mu_from_hu(part), view, geometry) for part in torch.split(patients.hu, chunk)]
            out[view] = to_network(torch.cat(parts))
    return out


def cache_folder() -> Path:
    """``TRAINDX_CACHE``, or ``traindx`` in the user's cache folder (XDG base directory specification)."""
    if chosen := os.environ.get("TRAINDX_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "traindx"


def _cache_file(folder: str | None, key: Mapping[str, Any]) -> Path | None:
    if folder == "":
        return None
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
    return (Path(folder) if folder is not None else cache_folder()) / f"xray2ct-{digest}.npz"


def _read(path: Path | None) -> tuple[Patients, Patients, list[dict[str, Tensor]]] | None:
    """What is cached, or None. A file that cannot be read is as good as none: it is made again."""
    if path is None or not path.exists():
        return None
    try:
        with np.load(path) as archive:
            stored = {name: archive[name] for name in archive.files}
        patients, views = [], []
        for part in ("train", "val"):
            d, h, w = (float(value) for value in stored["spacing"])
            ids = tuple(str(name) for name in stored[f"{part}-ids"])
            patients.append(Patients(torch.from_numpy(stored[f"{part}-hu"]), ids, (d, h, w)))
            views.append({view: torch.from_numpy(stored[f"{part}-{view}"]) for view in VIEWS})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return patients[0], patients[1], views


def _write(path: Path | None, train: Patients, val: Patients, views: list[dict[str, Tensor]]) -> None:
    """Store under the final name only what is complete, so that parallel workers never read half a file."""
    if path is None:
        return
    arrays: dict[str, Any] = {"spacing": np.array(train.spacing_mm)}
    for name, part, images in zip(("train", "val"), (train, val), views, strict=True):
        arrays[f"{name}-hu"] = part.hu.numpy()
        arrays[f"{name}-ids"] = np.array(part.ids)
        arrays.update({f"{name}-{view}": image.numpy() for view, image in images.items()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
            np.savez(file, **arrays)
        os.replace(file.name, path)
    except OSError:  # a folder that cannot be written to costs time at the next start, nothing else
        return
