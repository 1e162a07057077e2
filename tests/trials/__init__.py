"""Trials: twenty tenants, a server that misbehaves, and how long everybody took. One module a trial."""
