"""One Django project behind every Django server of the comparison."""
