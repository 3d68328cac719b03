"""What proves the hardware: cocotb test benches on Verilator models."""
