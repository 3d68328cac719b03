"""From Verilog to boards and chips."""
