"""What a run and the other commands may be asked, and how that is checked."""
