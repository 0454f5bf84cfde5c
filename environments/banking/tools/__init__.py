"""The agent's tools, by what they are for; each class is a part of the environment."""
