"""The fingerprint tells hardware apart, and nothing else."""

from dataclasses import replace

import pytest

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.ranges import built_widths
from golden.spec import load_preset
from hw.build import fingerprint

PRESET = load_preset("tiny")
WIDTHS = built_widths(PRESET, Checkpoint.load(checkpoint_path(PRESET), PRESET))
VALUE = fingerprint(PRESET, WIDTHS)

SAME = {
    "training": {"train__epochs": PRESET.train.epochs + 1},
    "no training": {"train": None},
    "standard cells": {"asic__fanout": 2},
    "name": {"name": "other"},
    "data set": {"data__dataset": "none"},
}
OTHER = {
    "image": {"data__height": 16},
    "classes": {"data__classes": 9},
    "network": {"network__time_steps": 2},
    "formats": {"quant__bias_bits": 19},
    "lanes": {"engine__lanes": PRESET.engine.lanes // 2},
    "counters": {"engine__counters": False},
}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME)
def test_what_changes_no_hardware_keeps_it(changes):
    other = PRESET.replace(**changes)
    assert (other, other.asic) != (PRESET, PRESET.asic)
    assert fingerprint(other, WIDTHS) == VALUE


@pytest.mark.parametrize("changes", OTHER.values(), ids=OTHER)
def test_other_hardware_has_another(changes):
    assert fingerprint(PRESET.replace(**changes), WIDTHS) != VALUE


def test_other_widths_have_another():
    assert fingerprint(PRESET, replace(WIDTHS, sums=WIDTHS.sums + 1)) != VALUE
