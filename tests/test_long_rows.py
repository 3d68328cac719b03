"""Engines so wide that a row of a memory is longer than the usual payload of a frame."""

import numpy as np
import pytest

from golden.ranges import format_widths
from golden.spec import SpecError
from hw import spaces
from hw.build import make_accelerator
from hw.frames import DEFAULT_MAX_PAYLOAD, LOAD_HEADER, decode
from hw.memory_image import checkpoint_requests, weight_rows
from synth.fpga.host.driver import Device
from tests.port_model import PortModel
from tests.small_networks import random_checkpoint, random_images, small_preset

WIDE = small_preset(
    network__stages=[{"channels": 8, "pool": True}, {"channels": 256}],
    network__heads=4,
    network__mlp_ratio=1,
    network__attention="lrf-dyn",
    network__dilations=(),
    engine__tiles=4,
    engine__lanes=64,
    engine__neuron_lanes=64,
    engine__widths="format",
)
WIDTHS = format_widths(WIDE)
ROW_BYTES = 1600


def test_hardware_takes_the_longest_row():
    assert max(space.row_bytes for space in spaces.write_spaces(WIDE, WIDTHS)) == ROW_BYTES
    host = make_accelerator(WIDE, WIDTHS).elaborate(None).submodules.host
    assert host.max_payload == LOAD_HEADER + ROW_BYTES
    usual = small_preset()
    assert spaces.max_payload(usual, format_widths(usual)) == DEFAULT_MAX_PAYLOAD


@pytest.mark.parametrize("wanted", [DEFAULT_MAX_PAYLOAD, 133])
def test_host_loads_the_longest_row(wanted):
    """Frames are no longer than the hardware takes, also where short ones are wanted."""
    checkpoint = random_checkpoint(WIDE)
    requests = checkpoint_requests(checkpoint, WIDTHS, wanted)
    assert max(len(decode(request).payload) for request in requests) == LOAD_HEADER + ROW_BYTES
    port = PortModel(WIDE, WIDTHS)
    device = Device(port, WIDE, WIDTHS, max_payload=wanted)
    device.open()
    device.load(checkpoint)
    space = spaces.write_spaces(WIDE, WIDTHS)[spaces.WEIGHTS]
    assert port.memories[spaces.WEIGHTS] == space.pack(weight_rows(checkpoint))
    assert np.any(device.run(random_images(WIDE, 1)[0]))
    assert not device.faults


def test_a_row_that_fits_no_frame():
    wide = WIDE.replace(
        network__stages=[{"channels": 8, "pool": True}, {"channels": 1 << 16}],
        network__heads=8,
        network__attention="lrf-ssa",
        network__dilations=(1,),
        engine__tiles=8,
    )
    text = (
        r"^preset small: a row of space local_even has 65536 bytes: must be at most 65530, what a"
        r" frame holds; take more network\.heads or fewer engine\.tiles$"
    )
    with pytest.raises(SpecError, match=text):
        spaces.max_payload(wide, format_widths(wide))
