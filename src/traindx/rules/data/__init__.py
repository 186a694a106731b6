"""Rules about data and normalisation, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.data.d101_conditions import conditions_differ_in_range
from traindx.rules.data.d101_modality_range_mismatch import modality_range_mismatch
from traindx.rules.data.d102_window_starves_tissue import window_starves_tissue
from traindx.rules.data.d103_not_finite import not_finite
from traindx.rules.data.d103_observed import batches_not_finite
from traindx.rules.data.d104_constant_label_column import constant_label_column
from traindx.rules.data.d105_class_imbalance_extreme import class_imbalance_extreme
from traindx.rules.data.d106_box_invalid import box_invalid
from traindx.rules.data.d106_in_batches import boxes_crossed_in_batches
from traindx.rules.data.d106_landmarks import landmarks_outside
from traindx.rules.data.d107_label_box_inconsistent import label_box_inconsistent
from traindx.rules.data.d108_cases import cases_on_both_sides, division_cuts_cases
from traindx.rules.data.d108_in_batches import items_shared_with_training
from traindx.rules.data.d108_patient_leak import patient_leak
from traindx.rules.data.d108_splits import parts_have_items_in_common
from traindx.rules.data.d109_duplicate_case import duplicate_case
from traindx.rules.data.d110_geometry_mismatch import geometry_mismatch
from traindx.rules.data.d111_mixed_orientation_or_spacing import mixed_orientation_or_spacing
from traindx.rules.data.d112_not_hounsfield import not_hounsfield
from traindx.rules.data.d113_label_values_undeclared import label_values_undeclared
from traindx.rules.data.d113_observed import targets_undeclared
from traindx.rules.data.d113_unlabelled import unlabelled_is_trained
from traindx.rules.data.d114_own_figures import parts_standardised_alone
from traindx.rules.data.d114_pipelines_differ import pipelines_differ
from traindx.rules.data.d116_augmentation_repeats import augmentation_repeats
from traindx.rules.data.d116_workers_begun import workers_begin_alike
from traindx.rules.data.d117_view_mismatch import view_mismatch
from traindx.rules.data.d119_augmentation_not_equivariant import (
    augmentation_not_equivariant,
    validation_is_augmented,
)
from traindx.rules.data.d119_in_batches import mask_left_behind
from traindx.rules.data.d119_moved import moved_apart
from traindx.rules.data.d119_places import places_stay
from traindx.rules.data.d119_vectors import vectors_left_behind
from traindx.rules.data.d121_unreadable_file import unreadable_file
from traindx.rules.data.d122_missing_pair import missing_pair
from traindx.rules.data.d123_mask_empty_or_full import mask_empty_or_full
from traindx.rules.data.d124_polarity_mixed import polarity_mixed
from traindx.rules.data.d125_bit_depth_lost import bit_depth_lost
from traindx.rules.data.d126_input_window import window_flattens_input
from traindx.rules.data.d126_window_unsuited import window_unsuited
from traindx.rules.data.d127_box_vanishes_on_map import box_vanishes_on_map
from traindx.rules.data.d127_drawn import drawn_box_vanishes
from traindx.rules.data.d128_intensity_scale_varies import intensity_scale_varies
from traindx.rules.data.d129_slices_do_not_form_a_volume import slices_do_not_form_a_volume
from traindx.rules.data.d130_image_constant import image_constant
from traindx.rules.data.d131_format_hidden import format_hidden
from traindx.rules.data.d132_placeholder_label import placeholder_label
from traindx.rules.data.d133_picture_mask_turned import picture_mask_turned
from traindx.rules.data.d134_one_item_fills_the_batch import one_item_fills_the_batch
from traindx.rules.data.d135_items_drift import items_drift
from traindx.rules.data.d136_sides_not_exchanged import sides_not_exchanged
from traindx.rules.data.d137_labels_interpolated import labels_interpolated
from traindx.rules.data.d138_integers_wrap import integers_wrap_round
from traindx.rules.data.d139_sampler_misses_items import sampler_misses_items
from traindx.rules.data.d140_batches_of_one_class import batches_of_one_class
from traindx.rules.data.d141_partner_does_not_invert import partner_does_not_invert
from traindx.rules.data.d141_pieces import pieces_put_together_wrongly
from traindx.rules.data.d141_windows import windows_put_back_elsewhere
from traindx.rules.data.d142_labels_mapped_apart import labels_mapped_apart
from traindx.rules.data.d142_tables import names_numbered_apart
from traindx.rules.data.d143_anchors_of_one_shape import anchors_of_one_shape
from traindx.rules.data.d144_axes_not_as_the_numbers_lie import axes_not_as_the_numbers_lie
from traindx.rules.data.d145_places_transposed import maps_beside_their_place, places_transposed
from traindx.rules.data.d146_data_function_breaks_its_definition import data_function_breaks_its_definition
from traindx.rules.data.d147_first_batches_alone import first_batches_alone
from traindx.rules.data.d148_labels_that_never_occur import labels_that_never_occur
from traindx.rules.data.d150_item_depends_on_earlier_items import item_depends_on_earlier_items
from traindx.rules.data.d151_names_do_not_agree import names_do_not_agree
from traindx.rules.data.d152_field_of_shared_data_set import field_of_shared_data_set
from traindx.rules.data.d153_two_views_are_one import two_views_are_one
from traindx.rules.data.d154_unannotated_trained_as_class import unannotated_trained_as_class
from traindx.rules.data.d155_evaluation_asks_for_unseen_classes import evaluation_asks_for_unseen_classes

RULES: tuple[Rule, ...] = (
    modality_range_mismatch.also(conditions_differ_in_range),
    window_starves_tissue,
    not_finite.also(batches_not_finite),
    constant_label_column,
    class_imbalance_extreme,
    box_invalid.also(boxes_crossed_in_batches).also(landmarks_outside),
    label_box_inconsistent,
    patient_leak.also(items_shared_with_training)
    .also(parts_have_items_in_common)
    .also(division_cuts_cases)
    .also(cases_on_both_sides),
    duplicate_case,
    geometry_mismatch,
    mixed_orientation_or_spacing,
    not_hounsfield,
    label_values_undeclared.also(targets_undeclared).also(unlabelled_is_trained),
    view_mismatch,
    augmentation_not_equivariant.also(validation_is_augmented)
    .also(mask_left_behind)
    .also(moved_apart)
    .also(vectors_left_behind)
    .also(places_stay),
    unreadable_file,
    missing_pair,
    mask_empty_or_full,
    polarity_mixed,
    bit_depth_lost,
    window_unsuited.also(window_flattens_input),
    box_vanishes_on_map.also(drawn_box_vanishes),
    intensity_scale_varies,
    slices_do_not_form_a_volume,
    image_constant,
    format_hidden,
    placeholder_label,
    picture_mask_turned,
    one_item_fills_the_batch,
    items_drift,
    augmentation_repeats.also(workers_begin_alike),
    sides_not_exchanged,
    labels_interpolated,
    integers_wrap_round,
    sampler_misses_items,
    batches_of_one_class,
    partner_does_not_invert.also(windows_put_back_elsewhere).also(pieces_put_together_wrongly),
    labels_mapped_apart.also(names_numbered_apart),
    anchors_of_one_shape,
    axes_not_as_the_numbers_lie,
    places_transposed.also(maps_beside_their_place),
    data_function_breaks_its_definition,
    first_batches_alone,
    labels_that_never_occur,
    item_depends_on_earlier_items,
    pipelines_differ.also(parts_standardised_alone),
    names_do_not_agree,
    field_of_shared_data_set,
    two_views_are_one,
    unannotated_trained_as_class,
    evaluation_asks_for_unseen_classes,
)
