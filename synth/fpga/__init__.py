"""Open FPGA flow: Yosys, nextpnr, and the boards they build for."""
