"""Generated documents, and questions that only they can answer."""
