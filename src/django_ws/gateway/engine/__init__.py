"""Where publications, history and presence live."""
