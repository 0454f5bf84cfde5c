"""Training a generative reward model: two responses to be rated and ranked."""
