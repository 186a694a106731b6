"""Files in a zip archive, unpacked one after another into a folder of their own: never where their names say.

An archive in an archive is not opened, and neither is one whose members claim more than deflate can hold (overlapping
members are how small files promise petabytes) or more than fits on the disk in passing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator

from traindx.data import kinds, limits
from traindx.data.reading import NotReadError, UnreadableError, reason_of

MOST_BYTES = 64 << 30
"""Unpacked size up to which an archive is read; beyond, unpacking it twice over costs the user more than it saves."""

MOST_MEMBERS = 1_000_000
_BLOCK = 1 << 20
_READ = ("dicom", "nifti", "image", "array", "volume", "container", "slide", "")


def members(path: str, size: int) -> Iterator[tuple[str, str, str]]:
    """Unpack the images of an archive one by one.

    Args:
        path: The archive.
        size: Its size in bytes.

    Yields:
        ``(folder, name, problem)``: the file lies at ``folder/name`` until the next one is asked for; where it could
        not be unpacked there is a problem instead.

    Raises:
        UnreadableError: It is damaged, encrypted, or claims more than it can hold.
        NotReadError: It is too large to be unpacked in passing.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UnreadableError(f"not a whole zip archive: {reason_of(error)}") from None
    with archive, tempfile.TemporaryDirectory(prefix="traindx-zip-") as folder:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        claimed = sum(entry.file_size for entry in entries)
        if claimed > size * limits.DEFLATE or len(entries) > MOST_MEMBERS:
            raise UnreadableError(
                f"{len(entries)} members claim {limits.bytes_text(claimed)}, more than a zip of "
                f"{limits.bytes_text(size)} can hold"
            )
        if claimed > MOST_BYTES or claimed > shutil.disk_usage(folder).free:
            raise NotReadError(f"a zip of {limits.bytes_text(claimed)} unpacked: unpack it, and verify the folder")
        wanted = [entry for entry in entries if _wanted(entry.filename)]
        if wanted and all(entry.flag_bits & 1 for entry in wanted):
            raise NotReadError("encrypted: unpack it with its password, and verify the folder")
        for entry in wanted:
            yield from _unpacked(archive, entry, folder)


def _wanted(name: str) -> bool:
    parts = [part for part in name.replace("\\", "/").split("/") if part]
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return bool(parts) and not hidden and kinds.by_suffix(name) in _READ


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: str) -> Iterator[tuple[str, str, str]]:
    """One member under its own name without anything that climbs; removed when the next one is asked for."""
    parts = [part for part in entry.filename.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    name = "/".join(part.replace("\0", "_")[-200:] for part in parts) or "member"
    target = os.path.join(folder, *name.split("/"))
    try:
        if entry.file_size > max(limits.allowed(), 1 << 30):
            raise NotReadError(f"{limits.bytes_text(entry.file_size)} unpacked")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with archive.open(entry) as source, open(target, "wb") as stream:
            left = entry.file_size
            while left > 0 and (block := source.read(min(_BLOCK, left))):
                stream.write(block)
                left -= len(block)
    except Exception as error:  # damaged, encrypted, of an unknown method: a fact about this member
        yield folder, name, f"cannot be unpacked: {reason_of(error)}"
        return
    yield folder, name, ""
    os.remove(target)
