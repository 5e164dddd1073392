"""What people read of runs: pages, model cards, tables and pictures."""
