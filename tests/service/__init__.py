"""Tests of the service as a process."""
