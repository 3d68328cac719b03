"""Build products: what is there after a run that was cut off, and what is too large to build."""

import json
from contextlib import contextmanager

import pytest

from golden.files import whole_file
from golden.metrics import read_metrics
from golden.ranges import format_widths
from golden.spec import SpecError
from hw import build
from hw.build import build_verilog, make_accelerator
from tests.small_networks import random_checkpoint, small_preset


def test_the_verilog_comes_last(tmp_path, monkeypatch):
    """Make looks at the Verilog alone: once it is new, description and figures are new as well."""
    monkeypatch.chdir(tmp_path)

    @contextmanager
    def cut_off(path):
        if path.suffix == ".v":
            raise KeyboardInterrupt
        with whole_file(path) as partial:
            yield partial

    preset = small_preset()
    monkeypatch.setattr(build, "whole_file", cut_off)
    with pytest.raises(KeyboardInterrupt):
        build_verilog(preset, random_checkpoint(preset))
    folder = tmp_path / "build" / "small"
    assert sorted(x.name for x in folder.iterdir()) == ["accelerator.json", "metrics.json"]
    stored = json.loads((folder / "accelerator.json").read_text())
    assert stored["preset"] == json.loads(preset.model_dump_json())
    assert read_metrics("small")["rtl.multipliers"] == 0


def test_an_image_that_no_frame_addresses():
    preset = small_preset(data__height=100_000, data__width=100_000, engine__widths="format")
    text = r"^preset small: space image has 10000000000 rows: must be at most 2147483648$"
    with pytest.raises(SpecError, match=text):
        build_verilog(preset, None)
    # Before any block is made: Amaranth warns of blocks that nobody uses.
    with pytest.raises(SpecError, match=text):
        make_accelerator(preset, format_widths(preset))
