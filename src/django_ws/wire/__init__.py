"""What gateways and Django processes say to each other. Pure: no sockets, no Tornado, no Django.

:mod:`.messages` has the messages, :mod:`.codec` turns batches of them into bytes and back.
``docs/protocol.md`` tells the whole conversation.
"""
