"""The process tree, and the supervisor's part in each of its processes.

In the command's own process :mod:`.tree` is the supervisor: :mod:`.plan` says what it is told,
:mod:`.children` and :mod:`.child` are the processes, :mod:`.slots` their places, :mod:`.silence`
finds those that hang, :mod:`.renewal` replaces, :mod:`.stop` ends them. As any management command
it has run ``django.setup()``, and so every ``AppConfig.ready``; it imports no handlers itself.

In its children :mod:`.boot` comes first, :mod:`.control` is the channel between them,
:mod:`.reload` and :mod:`.edits` see to changed files, and :mod:`.pages` is the page server of
``--wsgi``.
"""
