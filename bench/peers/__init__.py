"""Servers that django-ws is compared with and that are no Django."""
