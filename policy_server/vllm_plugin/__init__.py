"""The distribution `palaestra-vllm`: installed into vLLM's own environment, never imported from here."""
