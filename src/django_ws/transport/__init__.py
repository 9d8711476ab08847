"""ZeroMQ links between gateways and Django processes: the only importer of zmq.

:mod:`.endpoints` binds and guards addresses, :mod:`.events` carries gateway → worker,
:mod:`.replies` worker → gateway.
"""
