"""Publishes as any Django process may: python outside.py COUNT."""

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django.setup()

from django.db import transaction  # noqa: E402

from django_ws import history, presence, publish  # noqa: E402

count = int(sys.argv[1])
child = os.fork() if len(sys.argv) > 2 else None
if child == 0:
    publish("room", "from a child", wait=True)
    os._exit(0)
if child:
    os.waitpid(child, 0)
for number in range(count):
    with transaction.atomic():
        publish("room", str(number))
try:
    with transaction.atomic():
        publish("room", "rolled back")
        raise ZeroDivisionError
except ZeroDivisionError:
    pass
last = publish("room", "last", wait=True)
print(last.offset, history("room").publications[-1].data, len(presence("room")))
