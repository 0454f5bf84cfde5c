"""vLLM as the engine: started, watched and stopped here or attached to by URL, spoken to in token ids."""
