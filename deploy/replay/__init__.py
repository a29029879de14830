"""Recorded traffic through a running gateway: read it, run it at its own times, say what happened."""
