"""Expert exit: which token and which channels a slice of an expert belongs to."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import addressed_layout, bundles_layout, expert_spikes_layout


class ExpertExit(wiring.Component):
    """Send an expert's spikes to the counts that they are added to, and see each job end.

    Overview
    --------
    The slices of a job come one after another, and those of an expert's second layer are all D
    channels of its token, in order, the first tile's first. Steps in which the router left the
    expert out do not count.

    Design
    ------
    ::

        i ---------> & steps --> o
        jobs --> steps, row + slice, tile

    Latency and resources
    ---------------------
    No latency; a slice a cycle. Three counters and an adder.

    Parameters
    ----------
    lanes, time_steps : of a slice
    job : :func:`hw.expert_walk.job_layout`
    tiles : that share the D channels of a token
    slices : of a token in one tile
    job_bits : bits of the slices of a job

    Members
    -------
    i : In, stream of :func:`hw.layouts.bundles_layout`, slices of an expert's second layer
    o : Out, stream of :func:`hw.layouts.expert_spikes_layout`, addressed to a tile
    jobs : In, stream of jobs; taken with their last slices
    start : In, a layer begins
    done : In, a slice has arrived where it goes, on ``o`` or elsewhere
    last_slice : In, slices of a job, less 1
    """

    def __init__(
        self,
        *,
        lanes: int,
        time_steps: int,
        job: data.StructLayout,
        tiles: int,
        slices: int,
        job_bits: int,
    ) -> None:
        self.lanes, self.time_steps, self.job = lanes, time_steps, job
        self.tiles, self.slices, self.job_bits = tiles, slices, job_bits
        spikes = expert_spikes_layout(lanes, time_steps, job["row"].width)
        super().__init__(
            {
                "i": In(stream.Signature(bundles_layout(lanes, time_steps))),
                "o": Out(stream.Signature(addressed_layout(spikes, tiles))),
                "jobs": In(stream.Signature(job)),
                "start": In(1),
                "done": In(1),
                "last_slice": In(job_bits),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the mask, the address and the counters."""
        m = Module()
        place, tile, slice_ = (
            Signal(range(self.slices)),
            Signal(range(self.tiles)),
            Signal(self.job_bits),
        )
        last_of_job, last_of_tile = slice_ == self.last_slice, place == self.slices - 1
        m.d.comb += [
            self.o.valid.eq(self.i.valid & self.jobs.valid),
            self.i.ready.eq(self.o.ready & self.jobs.valid),
            self.o.payload.payload.row.eq(self.jobs.payload.row + place),
            self.o.payload.tile.eq(tile),
            self.jobs.ready.eq(self.done & last_of_job),
        ]
        for lane in range(self.lanes):
            m.d.comb += self.o.payload.payload.bundles[lane].eq(
                self.i.payload.bundles[lane] & self.jobs.payload.steps
            )
        with m.If(self.done):
            m.d.sync += [slice_.eq(slice_ + 1), place.eq(place + 1)]
            with m.If(last_of_tile):
                m.d.sync += [place.eq(0), tile.eq(tile + 1)]
            with m.If(last_of_job):
                m.d.sync += [slice_.eq(0), place.eq(0), tile.eq(0)]
        with m.If(self.start):
            m.d.sync += [slice_.eq(0), place.eq(0), tile.eq(0)]
        return m
