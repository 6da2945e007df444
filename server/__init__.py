"""Graphwire: the open deployment server for LangGraph graphs."""

__version__ = "0.1.0"
