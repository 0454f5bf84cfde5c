"""Rows from outside: customers of other trades, whose tools are declarations; a model plays customer and tools."""
