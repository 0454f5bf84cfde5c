"""OpenAI-compatible policy serving, tokens in and out: the embedded engine and attached endpoints."""
