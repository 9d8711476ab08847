"""The Django half: receives events, owns the handlers' instances and runs their hooks."""
