"""Questions over many documents, needles in long texts, and published long-context rows."""
