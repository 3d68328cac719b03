"""Expert walk: the loops over a tile's experts, for each token at the head of its queue."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layer_config import ConfigSizes
from .tap_walk import tap_layout


def job_layout(time_steps: int, row_bits: int) -> data.StructLayout:
    """One expert's work for one token: the steps that count, and the token's row of counts."""
    return data.StructLayout({"steps": time_steps, "row": row_bits})


class ExpertWalk(wiring.Component):
    """Visit the chunks that an expert reads, for every output group of every expert that serves.

    Overview
    --------
    What :class:`hw.tap_walk.TapWalk` is to a dense layer, for the tokens of one tile alone. A *job*
    is one expert's work for one token. Its loops are, from the outside in: token, expert, output
    group, chunk. Chunks lie in the token queue; in a layer that reads what the same expert made,
    they lie in the tile's spike memory, job after job.

    Design
    ------
    Routes are shifted by an expert a step, so that nothing is selected by number::

        head --> [routes] --> job: bias row, steps, token's row --> biases, jobs
                    |
                    +-------> [group, chunk] --> o

    Latency and resources
    ---------------------
    2 cycles before the first expert's first tap, 1 for an expert that does not serve, 1 between
    experts; a tap a cycle, and none lost between groups. About 6 adders of an address's width.

    Parameters
    ----------
    sizes : bits of the configuration
    head : layout of the token queue's heads
    time_steps : T

    Members
    -------
    head : In, stream of routes and row, taken when the token is done
    base : In, first row of the token at the head in the queue's memory
    o : Out, stream of :func:`hw.tap_walk.tap_layout`
    biases : Out, stream of the first bias row of each job
    jobs : Out, stream of :func:`job_layout`
    start : In, a layer begins
    config : In, :meth:`hw.layer_config.ConfigSizes.layout`, constant while the layer runs
    """

    def __init__(self, *, sizes: ConfigSizes, head: data.StructLayout, time_steps: int) -> None:
        self.sizes, self.time_steps = sizes, time_steps
        self._routes = head["routes"].shape
        job = job_layout(time_steps, head["row"].width)
        super().__init__(
            {
                "head": In(stream.Signature(head)),
                "base": In(sizes.addr),
                "o": Out(stream.Signature(tap_layout(sizes))),
                "biases": Out(stream.Signature(sizes.bias)),
                "jobs": Out(stream.Signature(job)),
                "start": In(1),
                "config": In(sizes.layout()),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the loops as one state machine."""
        m = Module()
        sizes, fetch, own = self.sizes, self.config.fetch, self.config.experts.own
        routes, self._left = Signal(self._routes), Signal(range(self._routes.length))
        expert_row, bias_row = Signal(sizes.row), Signal(sizes.bias)
        self._registers = routes, expert_row, bias_row
        group, chunk = Signal(sizes.groups), Signal(sizes.chunks)
        # Where the job's chunks begin: in the queue, or behind those of the job before.
        origin, own_origin = Signal(sizes.addr), Signal(sizes.addr)
        addr, row, group_row = Signal(sizes.addr), Signal(sizes.row), Signal(sizes.row)
        sent, sends = Signal(2), Signal(2)
        last_chunk = chunk == fetch.last_chunk
        # A route of one bit stands for all steps.
        steps = routes[0] if len(routes[0]) > 1 else routes[0].replicate(self.time_steps)
        m.d.comb += [
            sends.eq(sent | Cat(self.biases.ready, self.jobs.ready)),
            self.biases.payload.eq(bias_row),
            self.jobs.payload.steps.eq(steps),
            self.jobs.payload.row.eq(self.head.payload.row),
            self.o.payload.addr.eq(addr),
            self.o.payload.row.eq(row),
            self.o.payload.last.eq(last_chunk),
        ]
        with m.FSM():
            with m.State("TOKEN"), m.If(self.head.valid):
                m.d.sync += [
                    routes.eq(self.head.payload.routes),
                    self._left.eq(self._routes.length - 1),
                    expert_row.eq(fetch.weight_base),
                    bias_row.eq(self.config.bias_base),
                    origin.eq(self.base),
                ]
                m.next = "EXPERT"

            with m.State("EXPERT"):
                m.d.sync += [
                    Cat(group, chunk).eq(0),
                    addr.eq(Mux(own, own_origin, origin)),
                    row.eq(expert_row),
                    group_row.eq(expert_row),
                ]
                with m.If(routes[0].any()):
                    m.d.comb += [self.biases.valid.eq(~sent[0]), self.jobs.valid.eq(~sent[1])]
                    m.d.sync += sent.eq(sends)
                    with m.If(sends.all()):
                        m.d.sync += sent.eq(0)
                        m.next = "TAPS"
                with m.Else():
                    self._next_expert(m)

            with m.State("TAPS"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += [
                        chunk.eq(chunk + 1),
                        addr.eq(addr + 1),
                        row.eq(row + fetch.chunk_rows),
                    ]
                    with m.If(last_chunk):
                        next_row = group_row + fetch.group_rows
                        m.d.sync += [
                            chunk.eq(0),
                            group.eq(group + 1),
                            addr.eq(Mux(own, own_origin, origin)),
                            row.eq(next_row),
                            group_row.eq(next_row),
                        ]
                        with m.If(group == fetch.last_group):
                            m.d.sync += own_origin.eq(addr + 1)
                            self._next_expert(m)
        with m.If(self.start):
            m.d.sync += own_origin.eq(fetch.in_base)
        return m

    def _next_expert(self, m: Module) -> None:
        """Go to the next expert, or to the next token behind the last one."""
        routes, expert_row, bias_row = self._registers
        m.d.sync += [
            routes.as_value().eq(routes.as_value() >> self._routes.elem_shape.width),
            self._left.eq(self._left - 1),
            expert_row.eq(expert_row + self.config.experts.expert_rows),
            bias_row.eq(bias_row + self.config.experts.expert_biases),
        ]
        m.next = "EXPERT"
        with m.If(self._left == 0):
            m.d.comb += self.head.ready.eq(1)
            m.next = "TOKEN"
