"""Weights: the synaptic weights of a tile, in banks that each have an address of their own."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import event_layout, weighted_event_layout
from .resting import offered
from .storage import Storage, write_port
from .weight_fetch import COPY, SHIFT_BITS, WeightFetch

# Bits of a bank: few enough for one register to reach its block RAMs, and a multiple
# of what a block RAM is wide, parity included.
BANK_BITS = 72


def bank_lanes(lanes: int, weight_bits: int) -> list[int]:
    """Lanes of each bank, adjacent ones: as many as fit ``BANK_BITS``, in the last one the rest."""
    most = BANK_BITS // weight_bits
    return [min(most, lanes - first) for first in range(0, lanes, most)]


class Weights(wiring.Component):
    """Give each event its row of weights, from memories that lie side by side.

    Overview
    --------
    A row of all lanes is as wide as dozens of block RAMs, and a wire from one address register to
    all of them is the longest of the chip. Here each bank of lanes has a fetch of its own, which
    all do the same in the same cycle.

    Design
    ------
    ::

        i --+--> fetch --> memory --> lanes 0 .. 8  --+--> o
            +--> fetch --> memory --> lanes 9 .. 17 --+
            +--> ...

    Rows are written a cycle after ``write_en``, so that this way into the banks is short as well.

    Latency and resources
    ---------------------
    2 cycles; one event a cycle, as :class:`hw.weight_fetch.WeightFetch`. ``rows * lanes *
    weight_bits`` bits; for each bank about ``2 * row_bits + 2`` flip-flops and an adder of
    ``row_bits``, and ``lanes * weight_bits`` flip-flops in all.

    Parameters
    ----------
    entries, time_steps, row_bits : as :class:`hw.encoder.Encoder`
    lanes : P, weights in a row
    weight_bits : bits of a weight, at most 72
    rows : rows of weights

    Members
    -------
    i : In, stream of :func:`hw.layouts.event_layout`
    o : Out, stream of :func:`hw.layouts.weighted_event_layout`
    pixels, align : In, as :class:`hw.weight_fetch.WeightFetch`
    write_addr, write_en, write_data : In, see :func:`hw.storage.write_port`; never during a run
    """

    def __init__(
        self,
        *,
        entries: int,
        time_steps: int,
        row_bits: int,
        lanes: int,
        weight_bits: int,
        rows: int,
    ) -> None:
        self.banks = bank_lanes(lanes, weight_bits)
        self.entries, self.time_steps, self.row_bits = entries, time_steps, row_bits
        self.lanes, self.weight_bits, self.rows = lanes, weight_bits, rows
        weighted = weighted_event_layout(lanes, time_steps, weight_bits, SHIFT_BITS)
        super().__init__(
            {
                "i": In(stream.Signature(event_layout(entries, time_steps, row_bits))),
                "o": Out(stream.Signature(weighted)),
                "pixels": In(1),
                "align": In(SHIFT_BITS),
                **write_port(rows, lanes * weight_bits).flip().members,
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the banks, and take the handshake of the first."""
        m = Module()
        for number, lanes in enumerate(self.banks):
            base = sum(self.banks[:number])
            m.submodules[f"bank{number}"] = bank = Module()
            bank.submodules.weight_fetch = fetch = WeightFetch(
                entries=self.entries,
                time_steps=self.time_steps,
                row_bits=self.row_bits,
                lanes=lanes,
                weight_bits=self.weight_bits,
            )
            # The host port loads nothing during a run, and nothing is read outside of one.
            bank.submodules.storage = storage = Storage(
                self.rows, lanes * self.weight_bits, exclusive=True
            )
            self._write(bank, platform, storage, base * self.weight_bits)
            m.d.comb += [
                fetch.i.valid.eq(self.i.valid),
                fetch.i.payload.eq(self.i.payload),
                fetch.pixels.eq(self.pixels),
                fetch.align.eq(self.align),
                fetch.read_data.eq(storage.read_data),
                fetch.o.ready.eq(self.o.ready),
                storage.read_addr.eq(fetch.read_addr),
                storage.read_en.eq(fetch.read_en),
            ]
            for lane in range(lanes):
                weight = fetch.o.payload.weights[lane]
                m.d.comb += self.o.payload.weights[base + lane].eq(weight)
            if number == 0:
                first = fetch.o.payload
                m.d.comb += [
                    self.i.ready.eq(fetch.i.ready),
                    self.o.valid.eq(fetch.o.valid),
                    *(self.o.payload[name].eq(first[name]) for name in ("shift", "gates", "last")),
                ]
        return m

    def _write(self, bank: Module, platform, storage: Storage, base: int) -> None:
        """Write the bank's part of a row, from bit ``base``, a cycle later."""
        address = Signal.like(self.write_addr, attrs=COPY)
        enable = Signal(attrs=COPY)
        columns = Signal(storage.width)
        bank.d.sync += enable.eq(self.write_en)
        with bank.If(offered(platform, self.write_en)):
            bank.d.sync += [
                address.eq(self.write_addr),
                columns.eq(self.write_data[base : base + storage.width]),
            ]
        bank.d.comb += [
            storage.write_addr.eq(address),
            storage.write_en.eq(enable),
            storage.write_data.eq(columns),
        ]
