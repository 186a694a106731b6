"""C1122 best-not-kept."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_sources import SourceSlip, SourcesRead
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, rule
from traindx.rules.state._slips import told

_SAYS = {
    "best-begins-again": (
        "`{source}` goes on with an earlier training, and nothing brings `{was}` back, which begins with "
        "`{detail}`{at}: the first score after a restart counts as the best, however good an earlier one was.",
        "Save {was} with the checkpoint, and take it from there where the epoch is taken.",
    ),
    "best-in-one-branch": (
        "`{source}` brings the best weights back only where `{detail}`{at}: a training that comes to its last epoch "
        "keeps the last weights.",
        "Load them behind the loop, whichever way it ended.",
    ),
    "best-never-loaded": (
        "`{source}` keeps the best weights, and nothing ever reads {was}: `{detail}`{at} has the last ones.",
        "Load {was} behind the loop.",
    ),
}


@rule("C1122", "best-not-kept", Severity.MAJOR, needs=(SourcesRead,))
def best_not_kept(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The best weights of a training are not those that it ends with, or not those that it keeps.

    What it finds:
        A training that goes on from a checkpoint at a later epoch, while the best score so far, which decides what is
        saved, begins again with a constant. A copy of the best weights that is loaded in the branch of an early stop
        only, or never.
    Why it stops learning:
        The first epoch after a restart overwrites the better weights of the run before; a training that was not stopped
        early is evaluated, and saved, with its last and overfitted weights.
    Evidence it needs:
        SourcesRead and SourceSlip (a watched script): its loaded sources, read and not run.
    How it decides:
        From the syntax trees: the loop that begins with the loaded epoch comes to `if score > best` (or `<`), which
        saves something; the best is given constants and compared scores and nothing else anywhere in the program, it
        is handed to no function, and no key under which it is saved is ever asked for. Where what was loaded goes
        somewhere as a whole, nothing is said. The copy is made where a score is compared; it is read by the one
        `load_state_dict` alone, whose branch asks for patience, for a name that is set where patience is out, or ends
        with `break` out of a loop that ends by itself as well, and behind which the network is used. `suspected`:
        nothing was run.
    Remedy:
        Make the best score part of the checkpoint, on both sides.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A restart that is meant to choose anew, on other data for example.
    References:
        MIC-DKFZ/nnUNet, pull request 401, "added saving and reloading of best epoch and loss"; keras-team/keras, issue
        12511, "EarlyStopping won't restore best weights unless training stops early".
    """
    yield from told(evidence.of(SourceSlip), _SAYS)
