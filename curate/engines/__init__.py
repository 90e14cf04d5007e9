"""Where the work of a stage is done: in this process, or by the workers of a Ray cluster, with the same result."""
