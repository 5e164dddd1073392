"""Pictures, drawn by a process of their own."""
