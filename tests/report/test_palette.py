"""Every text of the report can be read in both colour schemes."""

from __future__ import annotations

import pytest

from zoo.report.palette import DARK, LIGHT, contrast, mix, tints, variables

READABLE = 4.5  # WCAG 2.2, AA, for text of any size
VISIBLE = 3.0  # the same for lines and marks

SCHEMES = pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])


def test_contrast_is_that_of_the_guidelines():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the guidelines' own near miss
    assert contrast("#ffffff", "#777777") == contrast("#777777", "#ffffff")


@SCHEMES
def test_plain_text_is_readable(scheme):
    for ground in (scheme.page, scheme.surface):
        assert contrast(scheme.ink, ground) >= READABLE
        assert contrast(scheme.muted, ground) >= READABLE
    assert contrast(scheme.ink, scheme.empty) >= READABLE  # in the boxes of norms


@SCHEMES
def test_names_in_the_colour_of_their_model_are_readable(scheme):
    for number, colour in enumerate(scheme.models):
        assert contrast(colour, scheme.surface) >= READABLE, number


@SCHEMES
def test_text_on_a_tint_is_readable(scheme):
    for number in range(len(scheme.models)):
        for tint in tints(scheme, number):
            assert contrast(scheme.ink, tint) >= READABLE, (number, tint)


@SCHEMES
def test_cells_of_masks_stand_out_from_empty_ones(scheme):
    assert all(contrast(colour, scheme.empty) >= VISIBLE for colour in scheme.models)


def test_both_schemes_have_the_same_variables_and_as_many_models():
    names = [[pair.partition(":")[0] for pair in variables(scheme, 8).split(";")] for scheme in (LIGHT, DARK)]
    assert names[0] == names[1]
    assert len(LIGHT.models) == len(DARK.models) == len(set(LIGHT.models)) == len(set(DARK.models))


def test_mixing():
    assert mix("#ff0000", "#0000ff", 0.25) == "#4000bf"
