"""Everything that runs on an NVIDIA GPU."""
