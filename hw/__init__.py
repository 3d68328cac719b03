"""What becomes silicon: one block a file, and the accelerator that joins them."""
