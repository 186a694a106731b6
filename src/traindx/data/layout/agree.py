"""Roles that were told from the pixels alone, settled by their neighbours: one folder's files are one kind of thing."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from traindx.data import pixels, read_images
from traindx.data.facts import Facts

if TYPE_CHECKING:
    from traindx.data.audit.context import AuditRoom

MOST = 9
"""Masks by content for each picture of the same suffix that is taken for a damaged mask among them."""

LEVELS = 64
"""Grey levels beyond which a picture is none of labels; JPEG and interpolation leave a set of masks around this."""

FEWEST = 10
"""Masks from which on a suffix says something."""


def settle(ctx: AuditRoom) -> None:
    """Make masks of constant pictures among masks, and images of the odd picture that looks like labels.

    An empty mask has one value and looks like a blank image; a radiograph of eight grey levels looks like a mask. In a
    folder whose other files are told by their pixels too, the majority of those that can be told decides.
    """
    store = ctx.store
    _pictures_in_a_mask_folder(ctx)
    told = "role_from = 'content' AND kind <> 'dicom'"
    query = (
        f"SELECT grp, kind, SUM(role = 'mask'), SUM(role = 'image' AND levels > 1), "
        f"SUM(role = 'image' AND levels <= 1) FROM items WHERE {told} GROUP BY grp, kind"
    )
    for group, kind, masks, images, blank in list(store.rows(query)):
        if masks > images and blank:
            where = f"{told} AND grp = ? AND kind = ? AND role = 'image' AND levels <= 1"
            for number, value, voxels in list(
                store.rows(f"SELECT id, vmin, voxels FROM items WHERE {where}", group, kind)
            ):
                values = json.dumps({f"{value:g}": voxels})
                store.run(
                    "UPDATE items SET role = 'mask', modality = '', label_values = ?, "
                    "set_name = REPLACE('|' || set_name, '|image ', 'mask ') WHERE id = ?",
                    values,
                    number,
                )
    _damaged_masks(ctx, told)


def _pictures_in_a_mask_folder(ctx: AuditRoom) -> None:
    """Make images of what a folder's name calls masks, where there is no image and their pixels are those of pictures.

    A set of nothing but masks does not exist, and a folder may be called after what used to lie in it.
    """
    store = ctx.store
    if store.count("SELECT COUNT(*) FROM items WHERE role = 'image'"):
        return
    named = "role = 'mask' AND role_from = 'name' AND kind = 'image'"
    query = f"SELECT grp, SUM(levels > {LEVELS}), COUNT(*) FROM items WHERE {named} GROUP BY grp"
    for group, pictures, count in list(store.rows(query)):
        if pictures > 0.5 * count:
            store.run(
                "UPDATE items SET role = 'image', role_from = 'content', label_values = '', fractional = 0, "
                f"set_name = REPLACE('|' || set_name, '|mask ', 'image ') WHERE {named} AND grp = ?",
                group,
            )


def _damaged_masks(ctx: AuditRoom, told: str) -> None:
    """Make masks of grey pictures that lie beside an image of the same name, as nearly all of their suffix do.

    A mask that was resized or saved with loss has more values than a mask, and what it lost is found by looking at it
    as one.
    """
    store = ctx.store
    store.function("suffix", 1, lambda path: os.path.splitext(path)[1].lower())
    told += " AND kind = 'image'"
    counted = "grp, suffix(path) AS s, SUM(role = 'mask'), SUM(role = 'image')"
    query = f"SELECT {counted} FROM items WHERE {told} GROUP BY grp, s"
    partner = "SELECT 1 FROM items AS o WHERE o.stem = items.stem AND o.path <> items.path AND o.role = 'image'"
    for group, suffix, masks, images in list(store.rows(query)):
        if masks < FEWEST or not images or masks < MOST * images:
            continue
        where = (
            f"{told} AND grp = ? AND suffix(path) = ? AND role = 'image' AND photometric = '' AND EXISTS ({partner})"
        )
        for number, path in list(store.rows(f"SELECT id, path FROM items WHERE {where}", group, suffix)):
            facts = Facts(path)
            with suppress(Exception):  # it was read a moment ago; a file that vanished since stays what it was
                array, _ = read_images.load(os.path.join(ctx.root, path))
                pixels.measure_labels(facts, array, pixels.count(array)[0])
                store.run(
                    "UPDATE items SET role = 'mask', modality = '', label_values = ?, fractional = 0, "
                    "set_name = REPLACE('|' || set_name, '|image ', 'mask ') WHERE id = ?",
                    facts.label_values,
                    number,
                )
