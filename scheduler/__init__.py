"""The long-running process: timers, mailbox, lanes, health and metrics around the core. ``python -m scheduler``."""
