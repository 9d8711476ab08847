"""ZeroMQ links between gateways and Django processes: the only importer of zmq.

:mod:`.addresses` and :mod:`.files` know endpoints and whose their files are, without zmq;
:mod:`.endpoints` binds them, :mod:`.events` carries gateway → worker, :mod:`.replies` worker →
gateway.
"""
