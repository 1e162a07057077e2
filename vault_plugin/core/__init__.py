"""The rules of credentials: no I/O, no clock, no threads. Imports nothing of ours but itself."""
