"""What gateways and Django processes share through a server: Redis or Valkey (``ENGINE``)."""
