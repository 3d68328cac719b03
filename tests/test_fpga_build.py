"""From a preset to a bitstream with the real tools, for the smallest network that there is."""

import json

import pytest

from golden.metrics import read_metrics, write_metrics
from synth.fpga.boards import find_board
from synth.fpga.flow import Options, build_bitstream, built_bitstream
from tests.small_networks import random_checkpoint, small_preset

HX8K_BYTES = 135_100


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
    assert built_bitstream(preset, board).stat().st_size == HX8K_BYTES
    folder = built_bitstream(preset, board).parent
    assert json.loads((folder / "report.json").read_text())["preset"] == preset.name
    assert " ns, " in (folder / "critical_path.txt").read_text()
    used, measured = report["utilisation"], read_metrics(preset.name)
    assert 500 < used["lut4"] < board.device.lut4
    assert used["multipliers"] == measured["fpga.ice40-hx8k-evn.multipliers"] == 0
    assert measured["fpga.ice40-hx8k-evn.images_per_second"] == 24_000
    assert measured["fpga.ice40-hx8k-evn.fmax_mhz"] >= 24
