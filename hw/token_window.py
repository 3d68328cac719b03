"""Which tokens a window holds: what may come in, and what may be worked on."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class TokenWindow(wiring.Component):
    """Keeps the tokens that arrive, are walked and leave within a window.

    Overview
    --------
    Tokens of an image are numbered 0 to N - 1. One arrives, is written into the window, is walked
    (which reads tokens up to ``before`` earlier and ``after`` later) and leaves. A token may be
    walked once it and all it reads are in the window; a token may arrive once the slot it takes
    belongs to a token that no later one reads. After the last token has left, the next image
    begins.

    Design
    ------
    Counters of each of the four, and two limits that move with them::

        arrived < limit --> room         written >= need --> open

    Latency and resources
    ---------------------
    Outputs follow pulses by one cycle. Six counters of ``ceil(log2(N + 1))`` bits.

    Parameters
    ----------
    tokens : N
    window : tokens in the window, at least ``before + after + 1`` or N
    before, after : tokens that a walk reads on either side

    Members
    -------
    arrived : In, pulse: the last of a token has arrived
    written : In, pulse: the last of a token is in the window
    walked : In, pulse: the last of a token is being walked
    left : In, pulse: the last of a token has left
    room : Out, the next token may arrive
    open : Out, the next token may be walked
    """

    def __init__(self, tokens: int, window: int, *, before: int, after: int) -> None:
        least = min(tokens, before + after + 1)
        if window < least:
            raise ValueError(f"window is {window}: must be at least {least} tokens")
        self.tokens, self.window, self.before, self.after = tokens, window, before, after
        names = ("arrived", "written", "walked", "left")
        super().__init__({**dict.fromkeys(names, In(1)), **dict.fromkeys(("room", "open"), Out(1))})

    def elaborate(self, platform) -> Module:
        """Build the counters."""
        m = Module()
        tokens = self.tokens

        def counter(name: str, first: int) -> Signal:
            return Signal(range(tokens + 1), init=min(first, tokens), name=name)

        arrived, written, walked, gone = (
            counter(f"{name}_count", 0) for name in ("arrived", "written", "walked", "left")
        )
        whole = self.window >= tokens
        limit = counter("limit", tokens if whole else self.window - self.before)
        need = counter("need", self.after + 1)
        pulses = (
            (self.arrived, arrived),
            (self.written, written),
            (self.walked, walked),
            (self.left, gone),
            (self.left, limit),
            (self.walked, need),
        )
        for pulse, count in pulses:
            with m.If(pulse):
                m.d.sync += count.eq(Mux(count == tokens, tokens, count + 1))
        # Arrived counts as well: what comes beside the window must be there too.
        m.d.comb += [
            self.room.eq(arrived < limit),
            self.open.eq((written >= need) & (arrived > walked)),
        ]
        with m.If(gone == tokens):
            m.d.sync += [count.eq(count.init) for _, count in pulses]
        return m
