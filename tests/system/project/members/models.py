"""A user model of a project's own."""

import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models


class Member(AbstractBaseUser, PermissionsMixin):
    key = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.CharField(max_length=100, unique=True)
    first_name = models.CharField(max_length=100)
    is_active = models.BooleanField(default=True)

    objects = BaseUserManager()
    USERNAME_FIELD = "email"


class Anybody:
    """A backend that does not look whether somebody is active."""

    def authenticate(self, request, **credentials):
        return None

    def get_user(self, pk):
        return Member.objects.filter(pk=pk).first()
