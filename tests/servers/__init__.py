"""Real Vault servers for tests, the demo and the benchmarks."""
