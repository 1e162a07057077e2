"""Microsoft and VB365, simulated over real HTTP(S). They know the protocols and none of the product's code."""
