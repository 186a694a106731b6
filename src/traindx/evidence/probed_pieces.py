"""What a function that puts the pieces of an image together gave, with a network inside that acts voxel by voxel."""

from __future__ import annotations

from traindx.evidence.observed import Observed


class PiecesTried(Observed):
    """A function that runs a network on pieces of an image and puts them together, with codes in place of the image.

    ``where`` is the line that cuts or writes a piece, the loop over the pieces where some of the image is left out, or
    what the function returns.

    Attributes:
        function: The function.
        size: Sides of the map that it makes.
        piece: Sides of the largest piece.
        pieces: How many the network was given.
        channels: Most channels that the network gives.
        returned: The map is returned; else a local name holds it at the end.
        faithful: Share of voxels that follow their own code, with the same two values everywhere.
        moved: Share that follow the code of another voxel.
        shift: How far away the usual one of those lies, in voxels along every axis; empty where it was not found.
        shifts: How many different shifts were found.
        explained: Share of the blocks of moved voxels that were looked at, in which one was found.
        turned: How the map as a whole is mirrored or its axes are exchanged; empty where it is not.
        uncovered: Share of voxels that are the same whatever the network gives.
        scattered: Nowhere do several of them lie in a row.
        begins: The rest begins at the first voxel along every axis.
        frame: They are a frame of one width.
        asked: The rest is a box whose sides are among the function's arguments.
        uneven: Share that follow their own code with other values than most.
        factor: Median of their contrast over the usual one.
        whole_values: The map holds whole numbers alone.
        signed: It holds negative values.
        uneven_at_half: Share of voxels of a decision that come out otherwise although the network says .43 everywhere.
        other_arrays: Something else of that size among the arguments changes the result.
        written: Line that writes pieces into the map; 0 where it was not found.
    """

    function: str
    size: tuple[int, ...]
    piece: tuple[int, ...]
    pieces: int
    channels: int
    returned: bool = True
    faithful: float
    moved: float = 0.0
    shift: tuple[int, ...] = ()
    shifts: int = 0
    explained: float = 0.0
    turned: str = ""
    uncovered: float = 0.0
    scattered: bool = False
    begins: bool = True
    frame: bool = False
    asked: bool = False
    uneven: float = 0.0
    factor: float = 1.0
    whole_values: bool = False
    signed: bool = False
    uneven_at_half: float = 0.0
    other_arrays: bool = False
    written: int = 0
