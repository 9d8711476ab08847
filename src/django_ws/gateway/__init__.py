"""The gateway: holds the browsers' connections and passes their messages to workers.

The only importer of Tornado. It never imports Django or the user's code.
"""
