"""Django signals that workers send."""

from __future__ import annotations

from django.dispatch import Signal

__all__ = ["gateway_started"]

#: A gateway has welcomed this worker for the first time. Whatever connections others have told
#: about before, at a gateway that is gone, are over. Arguments: ``gateway``, what
#: ``self.gateway`` is in handlers of its connections, and ``endpoint``, its ``SUB_SOCKET``.
gateway_started = Signal()
