"""Registers of payloads that load only what is offered, so that their clock can rest."""

from amaranth.hdl import Const, Value


def offered(platform, valid: Value) -> Value:
    """Bit that loads a free register of a payload.

    In standard cells a clock gate stops the clock of a register that loads nothing, so ``valid``
    decides. On an FPGA the clock runs on, and a register that is free may load whatever is there:
    one input less for the enable, which goes to every flip-flop of the payload.

    Parameters
    ----------
    platform : what is built for, or None; with ``clock_gates`` if it has some
    valid : 1 bit, there is a payload
    """
    return valid if getattr(platform, "clock_gates", platform is None) else Const(1)
