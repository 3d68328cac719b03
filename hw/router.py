"""Router: who serves a token. The first of the five steps of a mixture of experts."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .highest import Highest
from .layouts import bundles_layout, sums_layout
from .storage import write_port


class Router(wiring.Component):
    """Turn the router layer's slices into the routes of each token.

    Overview
    --------
    Routing (SCR) of the spiking mixture of experts, arXiv 2412.05540. ``top_k`` above 0 chooses the
    experts with the highest scores, sums over all T steps, ties to the lower index: our reading, in
    :func:`golden.experts.top_experts`. With ``top_k`` 0 the router layer spikes (SEMM, NeurIPS
    2024), and its spikes are the routes: an expert counts in the steps in which its router fired.

    Design
    ------
    The slices of a token bring its experts in order; those behind only fill up an output group::

        i --> sum over steps --> [scores] --> Highest --> write     top-k
        i --> [spikes] ---------------------------------> write     SEMM

    Latency and resources
    ---------------------
    A token's routes are written 4 cycles after the slice of its last expert came, 2 with SEMM; a
    slice a cycle, never stalls. ``experts`` registers and :class:`hw.highest.Highest`.

    Parameters
    ----------
    experts : E
    top_k : experts that serve a token; 0 for a router that spikes
    lanes : channels in a slice
    time_steps : T
    width : bits of a sum, signed
    slices : slices of a token
    tokens : rows of the route storage

    Members
    -------
    i : In, stream of :func:`hw.layouts.sums_layout`, or of :func:`hw.layouts.bundles_layout` if the
        router spikes
    start : In, a router layer begins: write from row 0
    busy : Out, routes are on their way
    served : Out, a bit for each expert: the token whose routes are written is for it
    write_addr, write_en, write_data : to the route storage,
        :func:`hw.layouts.routes_layout` a row
    """

    def __init__(
        self,
        *,
        experts: int,
        top_k: int,
        lanes: int,
        time_steps: int,
        width: int,
        slices: int,
        tokens: int,
    ) -> None:
        if slices * lanes < experts:
            raise ValueError(
                f"slices is {slices}: must hold {experts} experts, {lanes} channels a slice"
            )
        self.experts, self.top_k, self.lanes, self.time_steps = experts, top_k, lanes, time_steps
        self.width, self.slices, self.tokens = width, slices, tokens
        self.route_bits = 1 if top_k else time_steps
        payload = (
            sums_layout(lanes, time_steps, width) if top_k else bundles_layout(lanes, time_steps)
        )
        super().__init__(
            {
                "i": In(stream.Signature(payload)),
                "start": In(1),
                "busy": Out(1),
                "served": Out(experts),
                **write_port(tokens, experts * self.route_bits).members,
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the registers of a token's experts, and the choice."""
        m = Module()
        place, row = Signal(range(self.slices)), Signal(range(self.tokens))
        held = Signal(data.ArrayLayout(self._score(), self.experts))
        m.d.comb += self.i.ready.eq(1)
        last_place = (self.experts - 1) // self.lanes
        whole = Signal()
        m.d.comb += whole.eq(self.i.valid & (place == last_place))
        with m.If(self.i.valid):
            m.d.sync += place.eq(place + 1)
            with m.If(place == self.slices - 1):
                m.d.sync += place.eq(0)
            for expert in range(self.experts):
                at, lane = divmod(expert, self.lanes)
                with m.If(place == at):
                    m.d.sync += held[expert].eq(self._of(self.i.payload, lane))

        if self.top_k:
            m.submodules.highest = highest = Highest(self.experts, self._score(), self.top_k)
            m.d.comb += highest.i.eq(held)
            chosen, stages = highest.o, 3
        else:
            chosen, stages = held.as_value(), 1
        under_way = Signal(stages)
        m.d.sync += [
            under_way.eq(Cat(whole, under_way)),
            self.write_en.eq(under_way[-1]),
            self.write_data.eq(chosen),
            self.write_addr.eq(row),
        ]
        m.d.comb += self.busy.eq(under_way.any() | self.write_en)
        for expert in range(self.experts):
            route = self.write_data.word_select(expert, self.route_bits)
            m.d.comb += self.served[expert].eq(self.write_en & route.any())
        with m.If(under_way[-1]):
            m.d.sync += row.eq(row + 1)
        with m.If(self.start):
            m.d.sync += [row.eq(0), place.eq(0)]
        return m

    def _score(self) -> object:
        bits = self.width + (self.time_steps - 1).bit_length()
        return signed(bits) if self.top_k else self.time_steps

    def _of(self, payload, lane: int):
        return sum(payload.sums[lane]) if self.top_k else payload.bundles[lane]
