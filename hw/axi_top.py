"""The accelerator as a part of a system: AXI4-Lite for control, AXI-Stream for data."""

from amaranth.hdl import ClockDomain, ClockSignal, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from systemrdl.node import RootNode

from golden.ranges import Widths
from golden.spec import Preset

from . import frames
from .axi import axi_lite, axi_stream
from .axi_registers import AxiRegisters
from .build import fingerprint, make_accelerator
from .logits import LOGIT_BITS
from .packet_port import PacketPort
from .register_map import compile_source, read_map
from .storage import Storage

CONTROL, REQUESTS, REPLIES = "s_axil", "s_axis", "m_axis"


def preset_registers(preset: Preset, widths: Widths) -> RootNode:
    """Compiled register map of a preset."""
    return compile_source(
        classes=preset.data.classes,
        fingerprint=fingerprint(preset, widths),
        protocol=frames.VERSION,
    )


class AxiTop(wiring.Component):
    """A whole network behind AXI ports.

    Overview
    --------
    Frames of :mod:`hw.frames` come on ``s_axis`` and their replies leave on ``m_axis``, a packet
    each; a DMA engine needs to know no more. The registers of ``registers.rdl`` identify the
    accelerator, start a run on the image that was loaded, and hold its answer and its logits.

    Design
    ------
    ::

        s_axil --> registers --> start ------+--> cycles, answer, logits --> registers
                       |                     |
                      irq                    |
        s_axis ------------------> packet port <--> accelerator
        m_axis <------------------------'

    Latency and resources
    ---------------------
    Those of :class:`hw.packet_port.PacketPort` and :class:`hw.accelerator.Accelerator`, and a
    storage of a word a class.

    Parameters
    ----------
    preset, widths : as for :class:`hw.accelerator.Accelerator`

    Members
    -------
    aclk, aresetn : In, clock of all ports and of the accelerator, and its reset, low for a reset
    s_axil_* : AXI4-Lite, see :func:`hw.axi.axi_lite`
    s_axis_*, m_axis_* : AXI-Stream, see :func:`hw.axi.axi_stream`
    irq : Out, high while an enabled interrupt is pending
    """

    def __init__(self, preset: Preset, widths: Widths) -> None:
        self.preset, self.widths = preset, widths
        self.fingerprint = fingerprint(preset, widths)
        self.map = read_map(preset_registers(preset, widths))
        self._ports = {
            CONTROL: axi_lite(self.map.address_bits).flip(),
            REQUESTS: axi_stream().flip(),
            REPLIES: axi_stream(),
        }
        flat = {
            f"{port}_{name}": member
            for port, signature in self._ports.items()
            for name, member in signature.members.items()
        }
        super().__init__({"aclk": In(1), "aresetn": In(1), **flat, "irq": Out(1)})

    def elaborate(self, platform) -> Module:
        """Build the registers, the packet port and the accelerator."""
        m = Module()
        m.domains.sync = ClockDomain()
        m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]
        classes = self.preset.data.classes
        m.submodules.registers = registers = AxiRegisters(self.map)
        m.submodules.packets = packets = PacketPort(classes)
        m.submodules.accelerator = accelerator = make_accelerator(self.preset, self.widths)
        m.submodules.logits = logits = Storage(classes, LOGIT_BITS)
        wiring.connect(m, packets.o, accelerator.i)
        wiring.connect(m, accelerator.o, packets.i)
        self._join(m, CONTROL, registers.bus)
        requests, replies = axi_stream().create(), axi_stream().create()
        self._join(m, REQUESTS, wiring.flipped(requests))
        self._join(m, REPLIES, replies)
        m.d.comb += [
            packets.requests.payload.data.eq(requests.tdata),
            packets.requests.payload.last.eq(requests.tlast),
            packets.requests.valid.eq(requests.tvalid),
            requests.tready.eq(packets.requests.ready),
            replies.tdata.eq(packets.replies.payload.data),
            replies.tlast.eq(packets.replies.payload.last),
            replies.tvalid.eq(packets.replies.valid),
            packets.replies.ready.eq(replies.tready),
            packets.start.eq(registers.control_start),
            registers.status_busy.eq(packets.busy),
            registers.status_receiving.eq(packets.receiving),
            registers.status_result.eq(packets.result),
            registers.cycles_value.eq(packets.cycles),
            registers.answer_value.eq(packets.answer),
            registers.replies_value.eq(packets.sent),
            registers.errors_value.eq(packets.errors),
            registers.irq_pending_done_set.eq(packets.done),
            registers.irq_pending_error_set.eq(packets.error),
            self.irq.eq(
                (registers.irq_pending_done & registers.irq_enable_done)
                | (registers.irq_pending_error & registers.irq_enable_error)
            ),
            logits.write_addr.eq(packets.write_addr),
            logits.write_en.eq(packets.write_en),
            logits.write_data.eq(packets.write_data),
            logits.read_addr.eq(registers.logits_addr),
            logits.read_en.eq(registers.logits_en),
            registers.logits_data.eq(logits.read_data),
        ]
        return m

    def _join(self, m: Module, prefix: str, inner) -> None:
        """Connect the ports of a prefix to an interface of the same names."""
        for name, member in self._ports[prefix].members.items():
            outer, port = getattr(self, f"{prefix}_{name}"), getattr(inner, name)
            m.d.comb += outer.eq(port) if member.flow is Out else port.eq(outer)
