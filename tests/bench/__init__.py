"""The simulation of freshness, proved."""
