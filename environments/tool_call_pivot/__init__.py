"""The next action of an agent with tools, compared with the expert's."""
