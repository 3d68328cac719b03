"""Intake of the attention core: K and V become charge events, Q passes by."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .attention_shape import AttentionShape
from .find_first import one_hot_index, one_hot_mux
from .layouts import bundles_layout, values_layout
from .step_scan import StepScan


class HeadCharge(wiring.Component):
    """Collects K and V of a head and emits one event for each non-zero K.

    Overview
    --------
    For each token in order and each of its heads in order, ``i`` carries the slices of K, of V,
    then of Q. Q leaves at once on ``queries``. K and V are gone when their events are out.

    Design
    ------
    Two sets of registers: slices of one head shift into the first while the events of the head
    before come from the second. Which K are not zero is noted as they arrive.

    Latency and resources
    ---------------------
    With s = d / NL: if the last slice of V is taken in cycle c, the head moves on in cycle
    ``c + 1`` at the earliest, and its events are offered from ``c + 2`` on, one a cycle, without a
    gap between heads. A head without events costs nothing but that one move. While a head waits
    to move, ``i`` takes its Q, but not the next K.
    About ``d * T * (2 * (b + 2) + 2)`` registers.

    ::

        i --> K, V of head j+1 --> K, V of head j --> select --> o
          |        '- non-zero? --> StepScan ------------'
          '--> queries, values

    Parameters
    ----------
    shape : sizes of the core

    Members
    -------
    i : In, slices of K, V and Q values
    queries : Out, slices of Q spikes; must always be ready
    values : Out, slices of V; must always be ready
    o : Out, events
    enable : In, heads may move on to be charged
    restart : In, take the next image; only after ``done``
    begun : Out, a slice of the image has been taken
    done : Out, all slices of the image have been taken and all events are out
    """

    def __init__(self, shape: AttentionShape) -> None:
        self.shape = shape
        lanes, steps = shape.lanes, shape.time_steps
        super().__init__(
            {
                "i": In(stream.Signature(values_layout(lanes, steps, shape.value_bits))),
                "queries": Out(stream.Signature(bundles_layout(lanes, steps), always_ready=True)),
                "values": Out(stream.Signature(values_layout(lanes, steps, 2), always_ready=True)),
                "o": Out(stream.Signature(shape.charge_layout())),
                "enable": In(1),
                "restart": In(1),
                "begun": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the two sets of registers and the scanner."""
        m = Module()
        shape = self.shape
        lanes, steps, channels = shape.lanes, shape.time_steps, shape.head_channels
        m.submodules.scan = scan = StepScan(channels, steps)

        key_layout = data.ArrayLayout(data.ArrayLayout(unsigned(shape.key_bits), steps), channels)
        value_layout = data.ArrayLayout(data.ArrayLayout(unsigned(2), steps), channels)
        mask_layout = data.ArrayLayout(unsigned(steps), channels)
        next_keys = Signal(key_layout, reset_less=True)
        next_values = Signal(value_layout, reset_less=True)
        next_masks = Signal(mask_layout, reset_less=True)
        keys = Signal(key_layout, reset_less=True)
        values = Signal(value_layout, reset_less=True)
        visit = Signal(steps, reset_less=True)

        part = Signal(range(3))
        slot = Signal(range(shape.slices))
        taken_jobs = Signal(range(shape.jobs))
        full = Signal()
        complete = Signal()
        last_slot = slot == shape.slices - 1

        arrived = self.i.p.values
        slice_keys = [
            arrived[lane][t][: shape.key_bits] for lane in range(lanes) for t in range(steps)
        ]
        slice_values = [arrived[lane][t][:2] for lane in range(lanes) for t in range(steps)]
        slice_masks = Cat(key.any() for key in slice_keys)
        slice_visit = Cat(slice_masks[t::steps].any() for t in range(steps))

        def shifted(register: Signal, piece) -> Cat:
            whole = register.as_value()
            return Cat(whole, piece)[len(piece) :]

        take = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(~complete & ((part == 2) | ~full)),
            self.queries.valid.eq(take & (part == 2)),
            self.values.valid.eq(take & (part == 1)),
            self.values.payload.eq(Cat(slice_values)),
            self.begun.eq((part != 0) | (slot != 0) | (taken_jobs != 0) | complete),
        ]
        for lane in range(lanes):
            m.d.comb += self.queries.p.bundles[lane].eq(
                Cat(arrived[lane][t][0] for t in range(steps))
            )
        with m.If(take):
            m.d.sync += slot.eq(Mux(last_slot, 0, slot + 1))
            with m.Switch(part):
                with m.Case(0):
                    m.d.sync += [
                        next_keys.as_value().eq(shifted(next_keys, Cat(slice_keys))),
                        next_masks.as_value().eq(shifted(next_masks, slice_masks)),
                        visit.eq(slice_visit | Mux(slot == 0, 0, visit)),
                    ]
                with m.Case(1):
                    m.d.sync += next_values.as_value().eq(shifted(next_values, Cat(slice_values)))
            with m.If(last_slot):
                m.d.sync += part.eq(Mux(part == 2, 0, part + 1))
                with m.If(part == 1):
                    m.d.sync += full.eq(1)
                with m.If(part == 2):
                    with m.If(taken_jobs == shape.jobs - 1):
                        m.d.sync += [taken_jobs.eq(0), complete.eq(1)]
                    with m.Else():
                        m.d.sync += taken_jobs.eq(taken_jobs + 1)
        with m.If(self.restart):
            m.d.sync += complete.eq(0)

        token = Signal(range(shape.tokens), reset_less=True)
        head = Signal(range(shape.heads), reset_less=True)
        next_token = Signal(range(shape.tokens))
        next_head = Signal(range(shape.heads))
        m.d.comb += [
            scan.i.valid.eq(full & self.enable),
            scan.i.p.visit.eq(visit),
            self.done.eq(complete & ~full & ~scan.o.valid),
        ]
        for t in range(steps):
            m.d.comb += scan.i.p.masks[t].eq(Cat(next_masks[c][t] for c in range(channels)))
        with m.If(scan.i.valid & scan.i.ready):
            m.d.sync += [
                full.eq(0),
                keys.eq(next_keys),
                values.eq(next_values),
                token.eq(next_token),
                head.eq(next_head),
                next_head.eq(Mux(next_head == shape.heads - 1, 0, next_head + 1)),
            ]
            with m.If(next_head == shape.heads - 1):
                m.d.sync += next_token.eq(Mux(next_token == shape.tokens - 1, 0, next_token + 1))

        event = scan.o.p

        def at_step(word):
            # Indexing a view by a signal would multiply.
            return Array(word[t] for t in range(steps))[event.step]

        step_keys = Signal(data.ArrayLayout(unsigned(shape.key_bits), channels))
        for c in range(channels):
            m.d.comb += [
                step_keys[c].eq(at_step(keys[c])),
                self.o.p.values[c].eq(at_step(values[c])),
            ]
        m.d.comb += [
            self.o.valid.eq(scan.o.valid),
            scan.o.ready.eq(self.o.ready),
            self.o.p.token.eq(token),
            self.o.p.head.eq(head),
            self.o.p.step.eq(event.step),
            self.o.p.index.eq(one_hot_index(event.select)),
            self.o.p.key.eq(one_hot_mux(event.select, [step_keys[c] for c in range(channels)])),
            self.o.p.last.eq(event.last),
        ]
        return m
