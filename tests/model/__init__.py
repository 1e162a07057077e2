"""An explicit-state model of two replicas over the real lifecycle code (DESIGN 5.3)."""
