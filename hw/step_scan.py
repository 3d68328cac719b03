"""Turning the spikes of a head into events, one a cycle."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .find_first import lowest_one, one_hot_mux


def scan_layout(channels: int, time_steps: int) -> data.StructLayout:
    """Masks of ones per time step, and the steps to visit."""
    return data.StructLayout(
        {
            "masks": data.ArrayLayout(unsigned(channels), time_steps),
            "visit": unsigned(time_steps),
        }
    )


class StepScan(wiring.Component):
    """Lists the ones of T masks, step by step and in channel order.

    Overview
    --------
    A payload of ``i`` is the spikes of one head, a mask a time step. ``o`` carries one event for
    each one in the steps to visit; a visited step without any one is an event of ``select`` 0.

    Design
    ------
    ``select`` is a register, so that whoever takes an event sees it together with data registered
    when the masks were taken. The successor is the lowest one of what is left of the step, or of
    the next step, or of the next payload: both carry chains run side by side, then a multiplexer.

    Latency and resources
    ---------------------
    An event follows its payload by one cycle. Events of a payload, of its steps and of the next
    payload come without a gap: a payload takes ``max(1, events)`` cycles.
    ``channels * (time_steps + 2)`` registers, 4 carry chains of ``channels`` bits.

    ::

        i --> masks, waiting --> lowest one --+--> select --> o
                    pending ---> lowest one --'      |
                       ^---------- rest -------------'

    Parameters
    ----------
    channels : bits of a mask
    time_steps : T

    Members
    -------
    i : In, masks and steps to visit
    o : Out, step, one-hot channel, and whether this is the last event of the step
    """

    def __init__(self, channels: int, time_steps: int) -> None:
        self.channels, self.time_steps = channels, time_steps
        event = data.StructLayout({"step": range(time_steps), "select": channels, "last": 1})
        super().__init__(
            {
                "i": In(stream.Signature(scan_layout(channels, time_steps))),
                "o": Out(stream.Signature(event)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the scanner."""
        m = Module()
        masks = Signal.like(self.i.p.masks, reset_less=True)
        waiting = Signal(self.time_steps)
        pending = Signal(self.channels)
        select = Signal(self.channels)
        step = Signal(range(self.time_steps))
        valid = Signal()

        more_steps = waiting.any()
        advance = Signal()
        m.d.comb += [
            advance.eq(~valid | self.o.ready),
            self.i.ready.eq(advance & ~pending.any() & ~more_steps),
            self.o.valid.eq(valid),
            self.o.p.step.eq(step),
            self.o.p.select.eq(select),
            self.o.p.last.eq(~pending.any()),
        ]

        steps = Signal(self.time_steps)
        source = Signal.like(masks)
        opening = Signal(self.channels)
        first_step, later_steps = lowest_one(steps)
        m.d.comb += [
            steps.eq(Mux(more_steps, waiting, Mux(self.i.valid, self.i.p.visit, 0))),
            source.eq(Mux(more_steps, masks, self.i.p.masks)),
            opening.eq(
                one_hot_mux(first_step, [source[number] for number in range(self.time_steps)])
            ),
        ]
        next_select, next_pending = lowest_one(pending)
        open_select, open_pending = lowest_one(opening)
        with m.If(advance):
            with m.If(pending.any()):
                m.d.sync += [select.eq(next_select), pending.eq(next_pending)]
            with m.Else():
                m.d.sync += [
                    valid.eq(steps.any()),
                    waiting.eq(later_steps),
                    select.eq(open_select),
                    pending.eq(open_pending),
                ]
                for number in range(self.time_steps):
                    with m.If(first_step[number]):
                        m.d.sync += step.eq(number)
                with m.If(~more_steps):
                    m.d.sync += masks.eq(self.i.p.masks)
        return m
