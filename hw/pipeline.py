"""Elastic pipeline control: who may move, and when."""

from amaranth.hdl import Cat, Module, Signal, Value, ValueLike
from amaranth.lib import stream

from .resting import offered


def elastic_stages(
    m: Module,
    platform,
    source: stream.Interface,
    sink: stream.Interface,
    depth: int,
    *,
    open: ValueLike = 1,
) -> list[Value]:
    """Control ``depth`` register stages between two streams; a stage fills when it or one after it
    is empty, or when the sink takes its payload.

    Adds the stages' valid bits to ``m`` and drives ``source.ready`` and ``sink.valid``. Holes close
    while the sink stalls. ``source.ready`` depends on ``sink.ready`` through one OR, whatever the
    depth, and never on ``source.valid``.

    Parameters
    ----------
    m : module that owns the stages
    platform : what is built for, or None
    source, sink : streams into the first stage and out of the last
    depth : register stages, at least 1
    open : while low, nothing is taken from the source

    Returns
    -------
    list of Value
        For each stage the bit that loads its registers, as :func:`hw.resting.offered` says.
    """
    valid = Signal(depth)
    before = Cat(source.valid & open, valid)
    loads = []
    for stage in range(depth):
        load = Signal(name=f"load_{stage}")
        # Written out per stage: a chain from stage to stage would be depth gates long.
        m.d.comb += load.eq(sink.ready | ~valid[stage:].all())
        with m.If(load):
            m.d.sync += valid[stage].eq(before[stage])
        if stage == 0:
            m.d.comb += source.ready.eq(load & open)
        loads.append(load & offered(platform, before[stage]))
    m.d.comb += sink.valid.eq(valid[-1])
    return loads
