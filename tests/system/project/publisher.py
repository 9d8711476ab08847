"""Publishes numbers at a steady rate: python publisher.py GROUP COUNT RATE."""

import os
import sys
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django.setup()

from django_ws import publish  # noqa: E402
from django_ws.exceptions import GatewayUnavailable  # noqa: E402

group, count, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
began = time.monotonic()
for number in range(1, count + 1):
    time.sleep(max(0.0, began + number / rate - time.monotonic()))
    while True:
        try:
            publish(group, str(number), wait=number == count)
        except GatewayUnavailable:  # none of it was published; the caller has a deadline
            time.sleep(0.05)
        else:
            break
