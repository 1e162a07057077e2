"""Trials: the whole product, real servers and the clock, played for minutes; each measures a promise and fails beyond it."""
