"""HTTP: listening, who may come in, the upgrade request, and the pages of ``--wsgi``."""
