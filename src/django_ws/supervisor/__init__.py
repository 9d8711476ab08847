"""The process tree: starts the gateway and the workers, restarts, replaces and stops them.

:mod:`.tree` has the supervisor itself, :mod:`.plan` what it is told; :mod:`.boot`, :mod:`.control`,
:mod:`.reload` and :mod:`.pages` are its part in the children.
"""
