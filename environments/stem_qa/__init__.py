"""Multiple-choice science questions: computed facts, and questions about a document."""
