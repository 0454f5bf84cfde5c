"""Structured outputs: an answer that fits a JSON Schema, written as JSON, YAML, XML, TOML, CSV or a tool call."""
