"""Evidence: typed, frozen records of what was measured, with where; append-only and written to disk as it comes.

One file a subject. Importing this package registers every record type, so a log can be read back.
"""

from __future__ import annotations

import traindx.evidence.contracts
import traindx.evidence.data_path
import traindx.evidence.dataset
import traindx.evidence.dataset_intensities
import traindx.evidence.dataset_labels
import traindx.evidence.deployment
import traindx.evidence.dynamics
import traindx.evidence.evaluation
import traindx.evidence.forecast
import traindx.evidence.labels
import traindx.evidence.loss
import traindx.evidence.model
import traindx.evidence.model_in_use
import traindx.evidence.normalisation
import traindx.evidence.observed
import traindx.evidence.observed_branches
import traindx.evidence.observed_calls
import traindx.evidence.observed_evaluation
import traindx.evidence.observed_figures
import traindx.evidence.observed_items
import traindx.evidence.observed_loss
import traindx.evidence.observed_optim
import traindx.evidence.observed_outputs
import traindx.evidence.observed_sources
import traindx.evidence.observed_state
import traindx.evidence.observed_views
import traindx.evidence.optimisation
import traindx.evidence.outputs
import traindx.evidence.probed
import traindx.evidence.probed_definitions
import traindx.evidence.probed_figures
import traindx.evidence.probed_functions
import traindx.evidence.probed_labels
import traindx.evidence.probed_pieces
import traindx.evidence.projection
import traindx.evidence.regions
import traindx.evidence.sampled
import traindx.evidence.sampling
import traindx.evidence.training_state  # noqa: F401
from traindx.evidence.base import Action, Curve, Evidence, InOrder, NotExamined, Picture, Record

__all__ = ["Action", "Curve", "Evidence", "InOrder", "NotExamined", "Picture", "Record"]
