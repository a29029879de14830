"""Everything an operator runs."""

__version__ = "0.1.0"
