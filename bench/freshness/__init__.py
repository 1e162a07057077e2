"""How fresh tokens stay, simulated: the real core on a fake clock. ``python -m bench.freshness``."""
