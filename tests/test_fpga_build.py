"""From a preset to a bitstream with the real tools, for the smallest network that there is."""

import json
import re

import pytest

from golden.metrics import read_metrics, write_metrics
from golden.spec import SpecError
from synth.fpga.boards import find_board
from synth.fpga.flow import Options, bitstream_path, build_bitstream, built_bitstream
from tests.small_networks import random_checkpoint, small_preset

HX8K_BYTES = 135_100


@pytest.mark.parametrize("mhz", [0, -80, float("nan"), float("inf"), 3, 401])
def test_an_impossible_clock_leaves_the_last_bitstream(mhz, monkeypatch, tmp_path):
    """Only no clock at all means the board's."""
    text = f"EHXPLLL cannot make {mhz:g} MHz: its output must be 3.125 to 400 MHz"
    refused(Options(mhz=mhz), text, monkeypatch, tmp_path)


@pytest.mark.parametrize("baud", [0, -1, 4_000_000])
def test_an_impossible_baud_rate_leaves_the_last_bitstream(baud, monkeypatch, tmp_path):
    text = f"{baud} baud is impossible on ulx3s-85f at 80 MHz: must be 16000 to 3000000, "
    refused(Options(baud=baud), text, monkeypatch, tmp_path)


def refused(options: Options, text: str, monkeypatch, tmp_path) -> None:
    """A build with such options ends before anything is run or removed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("synth.fpga.flow.find_tool", lambda name: name)
    monkeypatch.setattr("synth.fpga.flow.run_tool", lambda *_: pytest.fail("a tool was run"))
    board, preset = find_board("ulx3s-85f"), small_preset()
    last = bitstream_path(preset, board)
    last.parent.mkdir(parents=True)
    last.write_text("last")
    with pytest.raises(SpecError, match=rf"^{re.escape(text)}"):
        build_bitstream(preset, random_checkpoint(preset), board, options)
    assert last.read_text() == "last"


@pytest.mark.slow
def test_a_bitstream(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    board = find_board("ice40-hx8k-evn")
    preset = small_preset(
        network__time_steps=1,
        network__stages=[{"channels": 4, "pool": True}, {"channels": 4}],
        engine__lanes=4,
        engine__neuron_lanes=2,
        engine__counters=False,
    )
    write_metrics(preset.name, {"rtl.cycles_per_image": 1000})
    report = build_bitstream(preset, random_checkpoint(preset), board, Options(mhz=24))
    path, written = built_bitstream(preset, board)
    assert path.stat().st_size == HX8K_BYTES
    folder = path.parent
    assert written == json.loads((folder / "report.json").read_text())
    assert written["preset"] == preset.name
    assert " ns, " in (folder / "critical_path.txt").read_text()
    used, measured = report["utilisation"], read_metrics(preset.name)
    assert 500 < used["lut4"] < board.device.lut4
    assert used["multipliers"] == measured["fpga.ice40-hx8k-evn.multipliers"] == 0
    assert measured["fpga.ice40-hx8k-evn.images_per_second"] == 24_000
    assert measured["fpga.ice40-hx8k-evn.fmax_mhz"] >= 24
