"""Ports of AXI4-Lite and AXI-Stream under their usual names."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

OKAY, SLVERR = 0, 2
DATA_BITS = 32


def axi_lite(address_bits: int) -> wiring.Signature:
    """AXI4-Lite with 32-bit data, as a manager has it; without the protection bits, which nothing
    here would look at.
    """
    return wiring.Signature(
        {
            "awaddr": Out(address_bits),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata": Out(DATA_BITS),
            "wstrb": Out(DATA_BITS // 8),
            "wvalid": Out(1),
            "wready": In(1),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
            "araddr": Out(address_bits),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata": In(DATA_BITS),
            "rresp": In(2),
            "rvalid": In(1),
            "rready": Out(1),
        }
    )


def axi_stream() -> wiring.Signature:
    """AXI-Stream of bytes in packets, as a transmitter has it."""
    return wiring.Signature({"tdata": Out(8), "tlast": Out(1), "tvalid": Out(1), "tready": In(1)})


def packets() -> stream.Signature:
    """Stream of bytes in packets, as blocks have it."""
    return stream.Signature(data.StructLayout({"data": 8, "last": 1}))
