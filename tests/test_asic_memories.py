"""Macros of memories: their figures, how a memory is cut, and that the parts act as one."""

import random
from statistics import median

import pytest
from amaranth.hdl import Elaboratable, Fragment, Module, Value
from amaranth.sim import Simulator

from hw.storage import Storage
from synth.asic import memories
from synth.asic.fakeram import macro, macro_shape
from synth.asic.memories import MacroPlatform, bank_depths, plan
from synth.asic.published import PUBLISHED, expected


@pytest.mark.parametrize(
    ("figure", "half_within"),
    [("area_um2", 0.11), ("access_ps", 0.06), ("energy_fj", 0.18), ("leakage_uw", 0.17)],
)
def test_the_fit_meets_published_macros(figure, half_within):
    errors = [
        abs(getattr(expected(*shape), figure) / getattr(known, figure) - 1)
        for shape, known in PUBLISHED.items()
    ]
    assert median(errors) <= half_within
    assert max(errors) <= 0.4


def test_a_macro_is_what_was_fitted():
    fitted, cell = expected(512, 72), macro("fakeram45_512x72")
    # Whole sites and rows.
    assert cell.area_um2 == pytest.approx(fitted.area_um2, rel=0.01)
    assert (cell.delay_ps, cell.energy_fj) == (
        pytest.approx(fitted.access_ps, abs=0.1),
        pytest.approx(fitted.energy_fj, abs=0.1),
    )
    assert macro("fakeram45_512x72_1r1w").area_um2 == pytest.approx(1.4 * cell.area_um2, rel=0.01)


@pytest.mark.parametrize(
    ("rows", "width", "fold", "banks"),
    [(1024, 8, 2, 1), (3593, 256, 1, 7), (294, 128, 1, 1), (392, 512, 1, 1), (16, 1, 1, 1)],
)
def test_plan_of_a_memory(rows, width, fold, banks):
    cut = plan(rows, width, MacroPlatform(), two_ports=False)
    assert (cut.fold, len(cut.depths)) == (fold, banks)
    assert sum(cut.depths) * cut.fold >= rows
    parts = -(-width // cut.part_bits)
    assert len(cut.macros(width)) == banks * parts


@pytest.mark.parametrize(
    ("rows", "depths"),
    [(64, (64,)), (65, (65,)), (71, (71,)), (72, (64, 8)), (199, (64, 64, 71)), (129, (64, 65))],
)
def test_a_short_last_bank_joins_the_one_before(rows, depths):
    assert bank_depths(rows, 64) == depths


class Behaviour(Elaboratable):
    """A macro as Amaranth sees it: an instance by name and ports, with what the macro does."""

    made: list[str] = []

    def __init__(self, name: str, **ports) -> None:
        self.made.append(name)
        self.shape, self.ports = macro_shape(name), ports

    def elaborate(self, platform) -> Module:
        m = Module()
        depth, width, two_ports = self.shape
        ports = {name: Value.cast(port) for name, port in self.ports.items()}
        address = {way: ports[f"i_{way}addr_in"] for way in (("r_", "w_") if two_ports else ("",))}
        rows = memories.memory.Memory(shape=width, depth=depth, init=[])
        read, write = rows.read_port(), rows.write_port(granularity=1)
        if two_ports:
            reads, writes = ports["i_r_ce_in"], ports["i_w_ce_in"]
        else:
            writes = ports["i_ce_in"] & ports["i_we_in"]
            reads = ports["i_ce_in"] & ~ports["i_we_in"]
        m.d.comb += [
            read.addr.eq(address["r_" if two_ports else ""]),
            read.en.eq(reads),
            write.addr.eq(address["w_" if two_ports else ""]),
            write.data.eq(ports["i_wd_in"]),
            write.en.eq(writes.replicate(width) & ports["i_w_mask_in"]),
            ports["o_rd_out"].eq(read.data),
        ]
        # For no platform, or this memory would become macros as well.
        m.submodules.rows = Fragment.get(rows, None)
        return m


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize(
    ("rows", "width", "granularity", "macros"),
    [(130, 20, 20, 2), (199, 20, 10, 3), (256, 33, 33, 8), (67, 16, 8, 1), (397, 8, 8, 3)],
)
def test_macros_act_as_one_memory(monkeypatch, exclusive, rows, width, granularity, macros):
    monkeypatch.setattr(memories, "Instance", Behaviour)
    monkeypatch.setattr(Behaviour, "made", [])
    dut = Storage(rows, width, granularity=granularity, exclusive=exclusive)
    platform = MacroPlatform(flop_bits=64, bank_rows=64, bank_bits=32)
    top = Fragment.get(dut, platform)
    assert len(Behaviour.made) == macros
    rng = random.Random(rows)
    contents = [0] * rows
    parts = width // granularity

    async def bench(ctx) -> None:
        shown = None
        for cycle in range(1500):
            reading, writing = rng.random() < 0.7, rng.random() < 0.6
            if exclusive and reading:
                writing = False
            row, at = rng.randrange(rows), rng.randrange(rows)
            value, enable = rng.getrandbits(width), rng.getrandbits(parts) if writing else 0
            for port, given in (
                *((dut.read_addr, row), (dut.read_en, reading)),
                *((dut.write_addr, at), (dut.write_data, value), (dut.write_en, enable)),
            ):
                ctx.set(port, given)
            await ctx.tick()
            if reading:
                shown = contents[row]
            if shown is not None:
                found = ctx.get(dut.read_data)
                assert found == shown, f"cycle {cycle}, row {row}: {found:x}, should be {shown:x}"
            for part in range(parts):
                if enable >> part & 1:
                    mask = ((1 << granularity) - 1) << (part * granularity)
                    contents[at] = contents[at] & ~mask | value & mask

    sim = Simulator(top)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
