"""Single-turn instruction following: constraints on the text of a reply, each checked by code."""
