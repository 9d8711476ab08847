"""Two users whose password is on the login page. Never do this in a project that others can reach."""

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import migrations


def create(apps, schema_editor):
    User = apps.get_model("auth", "User")
    password = make_password("demo")
    for name, may_all in (("ann", True), ("bob", False)):
        User.objects.get_or_create(
            username=name,
            defaults={
                "password": password,
                "is_staff": may_all,
                "is_superuser": may_all,
            },
        )


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
