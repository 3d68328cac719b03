"""Drain: from a finished output group to slices with bias."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import sums_layout
from .resting import offered


class Drain(wiring.Component):
    """Take a group's sums at once and give them out a slice a cycle, with bias.

    Overview
    --------
    The synaptic array goes on with the next group while this one leaves in slices of
    ``neuron_lanes`` channels. That divides neurons, residual memory width and bias memory width by
    ``lanes / neuron_lanes``, and costs no time as long as a group has that many events.

    Design
    ------
    ::

        i --> [group] --> slice mux --> [slice] --> + bias --> o
                                                    ^
                   bias_addr ... bias_data ---> [bias]

    Bias rows follow the slices of a position; where a pool makes four positions of one, the rows of
    a group repeat four times before the next group's. Experts have biases of their own, so each
    pass over the groups begins at the base that is known by then. A row is read when the one before
    it is taken or the group comes, and registered with its slice: a block RAM's output is late in
    the cycle. A group is taken once the one before it has left: ``i.ready``, which many flip-flops
    wait for, is a register.

    Latency and resources
    ---------------------
    The first slice leaves 2 cycles after its group arrived; ``lanes / neuron_lanes + 1`` cycles a
    group. ``lanes * time_steps * width`` flip-flops for the group, ``neuron_lanes`` biases and
    ``neuron_lanes * time_steps`` adders of ``biased_width`` bits.

    Parameters
    ----------
    lanes, time_steps, width : of the synaptic array
    neuron_lanes : channels in a slice; divides ``lanes``
    biased_width : bits of a sum with bias, signed
    bias_bits : bits of a bias, signed
    bias_rows : depth of the bias storage, ``neuron_lanes`` biases a row
    max_groups : most output groups of a layer

    Members
    -------
    i : In, stream of :func:`hw.layouts.sums_layout` with ``lanes`` channels
    o : Out, stream of :func:`hw.layouts.sums_layout` with ``neuron_lanes`` channels
    start : In, a layer begins: start from ``bias_base``; before its first group
    bias_base : In, first bias row of the next pass over the groups
    bias_known : In, it is valid; constant 1 but for experts
    bias_taken : Out, it is used
    last_group : In, output groups of the layer, less 1
    pool : In, each group comes four times
    bias_addr, bias_en, bias_data : to the read port of the bias storage
    picks : Out, a slice leaves the group; ``bias_addr`` is that of the slice after it

    Raises
    ------
    ValueError
        If ``neuron_lanes`` does not divide ``lanes``.
    """

    def __init__(
        self,
        *,
        lanes: int,
        neuron_lanes: int,
        time_steps: int,
        width: int,
        biased_width: int,
        bias_bits: int,
        bias_rows: int,
        max_groups: int,
    ) -> None:
        if neuron_lanes < 1 or lanes % neuron_lanes:
            raise ValueError(f"neuron_lanes is {neuron_lanes}: must divide lanes, {lanes}")
        self.lanes, self.neuron_lanes, self.time_steps = lanes, neuron_lanes, time_steps
        self.width, self.biased_width = width, biased_width
        self.bias_bits, self.bias_rows, self.max_groups = bias_bits, bias_rows, max_groups
        super().__init__(
            {
                "i": In(stream.Signature(sums_layout(lanes, time_steps, width))),
                "o": Out(stream.Signature(sums_layout(neuron_lanes, time_steps, biased_width))),
                "start": In(1),
                "bias_base": In(range(bias_rows)),
                "bias_known": In(1, init=1),
                "bias_taken": Out(1),
                "last_group": In(range(max_groups)),
                "pool": In(1),
                "bias_addr": Out(range(bias_rows)),
                "bias_en": Out(1),
                "bias_data": In(neuron_lanes * bias_bits),
                "picks": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the group register, the slice register and the adders."""
        m = Module()
        slices = self.lanes // self.neuron_lanes
        group, draining = Signal.like(self.i.payload), Signal()
        place, window = Signal(range(slices)), Signal(2)
        row, next_row, group_row = (Signal(range(self.bias_rows)) for _ in range(3))
        bias = Signal(self.neuron_lanes * self.bias_bits)
        group_index = Signal(range(self.max_groups))

        # A pass is over, or a layer begins; the next base has not come.
        wants, waits = Signal(), Signal()
        picked_valid, pick, room = Signal(), self.picks, Signal()
        picked = Signal(sums_layout(self.neuron_lanes, self.time_steps, self.width))
        last_slice = Signal(init=slices == 1)
        m.d.comb += [
            room.eq(~picked_valid | self.o.ready),
            pick.eq(draining & room & ~waits),
            self.i.ready.eq(~draining),
            next_row.eq(row),
            self.bias_addr.eq(next_row),
            self.bias_en.eq(draining | self.i.valid),
            self.o.valid.eq(picked_valid),
            self.bias_taken.eq(wants & self.bias_known),
        ]
        m.d.sync += waits.eq(wants & ~self.bias_known)
        m.d.sync += row.eq(next_row)
        with m.If(~draining):
            m.d.sync += draining.eq(self.i.valid)
            with m.If(offered(platform, self.i.valid)):
                m.d.sync += group.eq(self.i.payload)
        with m.Elif(pick & last_slice):
            m.d.sync += draining.eq(0)

        with m.If(pick):
            m.d.comb += next_row.eq(row + 1)
            m.d.sync += [
                place.eq(Mux(last_slice, 0, place + 1)),
                last_slice.eq(Mux(last_slice, slices == 1, place == slices - 2)),
            ]
            with m.If(last_slice):
                m.d.sync += window.eq(window + 1)
                with m.If(self.pool & (window != 3)):
                    m.d.comb += next_row.eq(group_row)
                with m.Elif(group_index == self.last_group):
                    m.d.comb += wants.eq(1)
                    m.d.sync += group_index.eq(0)
                with m.Else():
                    m.d.sync += [group_index.eq(group_index + 1), group_row.eq(row + 1)]
        with m.If(self.start):
            m.d.sync += [group_index.eq(0), window.eq(0)]
        with m.If(self.start | waits):
            m.d.comb += wants.eq(1)
        with m.If(self.bias_taken):
            m.d.comb += next_row.eq(self.bias_base)
            m.d.sync += group_row.eq(self.bias_base)

        parts = [
            group.sums.as_value().word_select(k, self.neuron_lanes * self.time_steps * self.width)
            for k in range(slices)
        ]
        with m.If(room):
            m.d.sync += picked_valid.eq(pick)
            with m.If(pick):
                m.d.sync += [
                    picked.sums.as_value().eq(Array(parts)[place]),
                    bias.eq(self.bias_data),
                ]
        for lane in range(self.neuron_lanes):
            added = bias.word_select(lane, self.bias_bits).as_signed()
            for step in range(self.time_steps):
                m.d.comb += self.o.payload.sums[lane][step].eq(picked.sums[lane][step] + added)
        return m
