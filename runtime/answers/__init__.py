"""What a model writes, read: its answer told from its thoughts and from calls made as text."""
