"""Rules that tests must hold: each is taken out of a copy of the tree, and a test must fail there."""
