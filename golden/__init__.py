"""What must come out: the network in floats and in integers, its training and its checkpoints."""
