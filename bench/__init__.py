"""What the service costs, measured: ratios to a floor of the same run, on this machine. ``python -m bench``."""
