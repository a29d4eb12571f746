"""What Portal costs, measured on the running server: `python -m tests.bench`."""
