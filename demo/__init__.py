"""``make demo``: the whole product on this machine, in two minutes."""
