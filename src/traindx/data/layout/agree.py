"""Roles that were told from the pixels alone, settled by their neighbours: one folder's files are one kind of thing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traindx.data.audit.context import AuditRoom


def settle(ctx: AuditRoom) -> None:
    """Make masks of constant pictures among masks, and images of the odd picture that looks like labels.

    An empty mask has one value and looks like a blank image; a radiograph of eight grey levels looks like a mask. In a
    folder whose other files are told by their pixels too, the majority of those that can be told decides.
    """
    store = ctx.store
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
