"""Customer service of a bank: dialogues with a customer, judged by books, words and rules kept."""
