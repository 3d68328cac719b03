"""What the documents show is true: their code runs and gives what they say."""

import re
from pathlib import Path

import numpy as np

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.data import load_test_images
from golden.ranges import built_widths
from golden.spec import load_preset
from hw.build import fingerprint
from hw.frames import encode
from synth.fpga.host.driver import Device
from tests.port_model import PortModel

DOCS = Path(__file__).resolve().parent.parent / "docs"
GOOD = encode(0)


def test_integration_loads_checkpoint_and_image():
    """The example loads the port as the host driver does, in packets of the sizes that it names."""
    preset = load_preset("tiny")
    checkpoint = Checkpoint.load(checkpoint_path(preset), preset)
    widths = built_widths(preset, checkpoint)
    port = PortModel(preset, widths)
    replies = []

    def receive():
        reply = b""
        while len(reply) < len(GOOD):
            reply += port.read(1)
        replies.append(reply)

    (code,) = re.findall(
        r"^```python\n(.*?)^```$", (DOCS / "integration.md").read_text(), re.DOTALL | re.MULTILINE
    )
    exec(code, {"dma_send": port.write, "dma_receive": receive})
    assert replies == [GOOD] * len(port.requests)
    assert GOOD.startswith(bytes.fromhex(re.search(r"# reply: ([0-9A-F ]+) and", code)[1]))
    count, size = re.search(r"# (\d+) packets, (\d+) kB for tiny", code).groups()
    *loads, image = port.requests
    assert (len(loads), round(sum(map(len, loads)) / 1000)) == (int(count), int(size))
    assert len(image) == int(re.search(r"# one packet of (\d+) bytes for tiny", code)[1])

    other = PortModel(preset, widths)
    device = Device(other, preset, widths)
    device.load(checkpoint)
    assert np.any(device.run(load_test_images(preset, 1)[0][0]))
    assert port.memories == other.memories


def test_bring_up_names_the_fingerprint():
    preset = load_preset("tiny")
    widths = built_widths(preset, Checkpoint.load(checkpoint_path(preset), preset))
    (shown,) = re.findall(r"fingerprint (0x[0-9a-f]{8})", (DOCS / "bring-up.md").read_text())
    assert int(shown, 16) == fingerprint(preset, widths)
