"""One story per module: what a command does, told with ports only."""
