"""No memory of the accelerator needs what it reads while the same row is written.

Synthesis relies on it (:func:`hw.verilog.without_collisions`): what a block RAM puts out then
differs from device to device.
"""

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from golden.ranges import built_widths
from hw.build import make_accelerator
from hw.storage import Storage
from hw.verilog import generate, without_collisions
from sim.accelerator import difference, make_job, play
from sim.harness import accelerator_design
from sim.streams import REGIMES
from sim.verilator import QUICK
from tests.small_networks import random_checkpoint, random_images, small_preset

NETWORKS = {
    "kv": {"engine__attention_order": "kv"},
    "qk": {"engine__attention_order": "qk"},
    "lrf-ssa": {"network__attention": "lrf-ssa"},
    "causal": {"network__attention": "causal"},
    "lrf-dyn": {"network__attention": "lrf-dyn", "network__time_steps": 2},
    "experts": {
        "network__moe": {"experts": 4, "hidden": 8, "top_k": 2},
        "engine__tiles": 2,
        "engine__queue_tokens": 2,
        "network__time_steps": 2,
    },
}


class Plain(Storage):
    """A storage that stays as it is while others are garbled."""

    elaborate = Storage.elaborate


class Garbled(Storage):
    """A storage that gives complemented contents after a read and a write of the same row."""

    def elaborate(self, platform) -> Module:
        """Build a plain storage and what spoils its output."""
        m = Module()
        m.submodules.plain = plain = Plain(self.rows, self.width, granularity=self.granularity)
        collided = Signal()
        for name in ("read_addr", "read_en", "write_addr", "write_en", "write_data"):
            m.d.comb += getattr(plain, name).eq(getattr(self, name))
        with m.If(self.read_en):
            m.d.sync += collided.eq(self.write_en.any() & (self.write_addr == self.read_addr))
        m.d.comb += self.read_data.eq(plain.read_data ^ collided.replicate(self.width))
        return m


def test_garbling_is_seen():
    dut, seen = Garbled(2, 4), []

    async def bench(ctx):
        ctx.set(dut.write_en, 1)
        ctx.set(dut.write_data, 5)
        for read in (0, 1, 0, 1, 1):
            ctx.set(dut.read_en, read)
            await ctx.tick()
            seen.append(ctx.get(dut.read_data))
            ctx.set(dut.write_en, len(seen) < 4)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert seen == [0, 10, 10, 10, 5]


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_accelerator_needs_no_collision(network, monkeypatch, tmp_path):
    # The class itself is changed, so that no memory is left out.
    monkeypatch.setattr(Storage, "elaborate", Garbled.elaborate)
    preset = small_preset(**NETWORKS[network])
    checkpoint, images = random_checkpoint(preset, seed=3), random_images(preset, 4)
    widths = built_widths(preset, checkpoint)
    made = generate(make_accelerator(preset, widths), "accelerator")
    assert made.text.count("reg collided") == made.cells["$memwr_v2"] >= 11
    design = accelerator_design(made.text, QUICK)
    for regime in REGIMES:
        job = make_job(
            checkpoint, widths, images, result=tmp_path / f"{regime}.jsonl", regime=regime
        )
        lines = play(design, job, f"garbled-{network}")
        assert not (found := difference(design, job, lines, f"garbled-{network}")), found


@pytest.mark.slow
def test_every_memory_is_freed_of_its_bypass():
    preset = small_preset()
    accelerator = make_accelerator(preset, built_widths(preset, random_checkpoint(preset)))
    text = rtlil.convert(accelerator, name="top", emit_src=False)
    written = text.count("cell $memwr_v2")
    assert written == text.count("COLLISION_X_MASK 1'0") >= 11
    assert without_collisions(text).count("COLLISION_X_MASK 1'1") == written
