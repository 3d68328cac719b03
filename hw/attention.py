"""The attention core: Q, K and V of an image in, spikes of SN(Q K^T V) out."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring

from .attention_base import AttentionBase
from .attention_charge import HeadCharge
from .attention_kv import KvProduct
from .attention_neuron import AttentionNeuron
from .attention_qk import QkProduct
from .attention_query import QueryScan
from .attention_shape import AttentionShape
from .local_join import LocalJoin
from .local_values import LocalTerm, LocalValues

PRODUCTS = {"kv": KvProduct, "qk": QkProduct}


class AttentionCore(AttentionBase):
    """Event-driven ``SN(Q K^T V)`` with binary Q, unsigned K and binary or ternary V.

    Overview
    --------
    For each token in order and each of its heads in order, ``i`` carries the d / NL slices of K,
    of V, then of Q. While tokens arrive, each non-zero K charges a memory. After the last token
    the core reads by itself: each 1 of Q reads a row of that memory, a LIF neuron turns the sums
    of every time step into spikes, and ``o`` carries d / NL slices for each token and head in the
    same order. Then the memory is cleared and the next image may charge. There are only additions
    (A2OS2A, arXiv 2503.00226; binary V gives vanilla spiking self-attention). With a ``local``
    branch, weighted V of a token's neighbours are added before the neuron (LRF-SSA, arXiv
    2603.19290).

    Design
    ------
    Both association orders give the same bits. ``"kv"`` charges d x d sums a head and time step
    and reads N times ``Q (K^T V)``; ``"qk"`` keeps K and V and gathers N scores a time step first.
    The parts hand events to each other by streams:

    ::

        i --> HeadCharge --> KvProduct or QkProduct --> (LocalJoin) --> AttentionNeuron --> o
                | |  | Q           ^                         ^
                | |  '--> QueryScan'                         |
                '-'--------- V ----------> (LocalValues) ----'

    The local branch works while the ones of Q are read, on adders of its own. While the memory is
    cleared, ``i`` already takes K and V of the next image's first head.

    Latency and throughput
    ----------------------
    In cycles, with s = d / NL, for a source and a sink that never wait. :mod:`hw.attention_timing`
    computes the same.

    clear : ``T * H * d``, after reset and after each image
    charge : ``nnz(K) + 2 * s + 6`` ("qk": ``nnz(K) + 2 * s + 2``) from the first slice to
        ``reading``, when every head has at least ``3 * s`` non-zero K and the memory is clear as
        the first head is complete. In general, head j moves on in cycle
        ``m[j] = max(v[j] + 1, m[j - 1] + max(1, nnz[j - 1]))`` where v[j] is the cycle that takes
        its last slice of V and the K of the next head is taken from ``m[j] + 1`` on; "kv" adds the
        waits of :class:`KvProduct` for rows that come again within three events.
    read : with e the sum over time steps of ``max(1, nnz(Q[t]))`` of a token and head,
        ``sum(max(e, s + 1)) + 2 * s + 8`` from ``reading`` to the last slice inclusive ("kv"), the
        last head ``max(e, s, 2)``; an upper bound if T is below s or below 2. For "qk" see
        :class:`QkProduct`. A local branch costs nothing where it has at most ``max(e, s + 1)`` taps
        for a token and head (T is the least of e), and one cycle for the join.

    Resources
    ---------
    Those of the parts; memories of ``H * T * d * d * kv_state_bits`` bits ("kv") or
    ``H * T * d * N * (b + 2)`` bits ("qk"), and ``N * H * d * T`` bits of Q.

    Parameters
    ----------
    time_steps : T
    tokens : N
    heads : H
    head_channels : d
    lanes : NL, channels of a slice; divides d
    key_bits : b, bits of K
    value_bits : bits of a value on ``i``, at least 2 and at least b
    threshold : V_th in the integer units of ``Q K^T V``
    decay_shift : s of ``beta = 1 - 2**-s``
    reset : ``"hard"`` or ``"soft"``
    order : ``"kv"`` or ``"qk"``
    local : the local branch; none by default

    Members
    -------
    i : In, slices of K, V and Q: K unsigned in the low b bits, V two's complement in the low 2
        bits, Q in the lowest
    o : Out, slices of spikes
    charging : Out, slices of an image are arriving or being charged
    reading : Out, the memory is being read
    local_even, local_odd : In, write ports of the local branch's weights, if it has such taps

    Raises
    ------
    ValueError
        If a parameter is not one of the above.
    """

    def __init__(
        self,
        *,
        threshold: int,
        decay_shift: int = 1,
        reset: str = "hard",
        order: str = "kv",
        local: LocalTerm | None = None,
        **sizes: int,
    ) -> None:
        if order not in PRODUCTS:
            raise ValueError(f"order is {order!r}: must be 'kv' or 'qk'")
        shape = AttentionShape(**sizes, local=local)
        self.order, self.local = order, local
        super().__init__(
            shape=shape,
            coefficients=local.shapes(shape.heads, shape.head_channels) if local else {},
            threshold=threshold,
            decay_shift=decay_shift,
            reset=reset,
        )

    def elaborate(self, platform) -> Module:
        """Join the parts and step through clear, charge and read."""
        m = Module()
        m.submodules.charge = charge = HeadCharge(self.shape)
        m.submodules.query = query = QueryScan(self.shape)
        m.submodules.product = product = PRODUCTS[self.order](self.shape)
        m.submodules.neuron = neuron = AttentionNeuron(
            self.shape,
            threshold=self.threshold,
            decay_shift=self.decay_shift,
            reset=self.reset,
        )
        wiring.connect(m, wiring.flipped(self.i), charge.i)
        wiring.connect(m, charge.queries, query.i)
        wiring.connect(m, charge.o, product.charge)
        wiring.connect(m, query.o, product.query)
        if self.local and self.local.sides:
            self._join_local(m)
        else:
            m.d.comb += [neuron.i.valid.eq(product.o.valid), product.o.ready.eq(neuron.i.ready)]
            for c, total in enumerate(product.o.p.sums):
                m.d.comb += neuron.i.p.sums[c].eq(total << self.shape.frac_bits)
        wiring.connect(m, neuron.o, wiring.flipped(self.o))

        row = Signal(range(self.shape.rows))
        m.d.comb += product.clear_row.eq(row)
        with m.FSM():
            with m.State("CLEAR"):
                m.d.comb += product.clear.eq(1)
                with m.If(row == self.shape.rows - 1):
                    m.d.sync += row.eq(0)
                    m.next = "CHARGE"
                with m.Else():
                    m.d.sync += row.eq(row + 1)
            with m.State("CHARGE"):
                m.d.comb += [charge.enable.eq(1), self.charging.eq(charge.begun)]
                with m.If(charge.done & ~product.busy):
                    m.d.comb += query.start.eq(1)
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += self.reading.eq(1)
                with m.If(query.idle & ~product.busy):
                    m.d.comb += charge.restart.eq(1)
                    m.next = "CLEAR"
        return m

    def _join_local(self, m: Module) -> None:
        """Let V of neighbours join the sums on their way to the neurons."""
        charge, query = m.submodules.charge, m.submodules.query
        m.submodules.local = local = LocalValues(
            heads=self.heads,
            head_channels=self.head_channels,
            lanes=self.lanes,
            time_steps=self.time_steps,
            term=self.local,
        )
        m.submodules.join = join = LocalJoin(self.shape, local.sums_layout)
        wiring.connect(m, charge.values, local.i)
        wiring.connect(m, m.submodules.product.o, join.i)
        wiring.connect(m, local.o, join.local)
        wiring.connect(m, join.o, m.submodules.neuron.i)
        m.d.comb += local.start.eq(query.start)
        for name in local.term.sides:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(local, name))
