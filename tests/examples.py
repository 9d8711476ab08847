"""The project of ``docs/testing.md``, as it stands there."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

__all__ = ["environment", "write_project"]

PAGE = Path(__file__).parents[1] / "docs" / "testing.md"

#: What every project has, so the page does not show it.
SETTINGS = """
SECRET_KEY = "tests"
USE_TZ = True
ROOT_URLCONF = "urls"
MIGRATION_MODULES = {name: None for name in ("auth", "contenttypes", "sessions", "shop")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django_ws",
    "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
"""

URLS = '''
from django.http import HttpResponse
from django.template import RequestContext, Template
from django.urls import path
from shop.views import accept

PAGE = """{% load django_ws %}<body><script>
const socket = new WebSocket("{% ws_url "chat" room="lobby" %}");
socket.onopen = () => document.body.append("connected");
socket.onmessage = (event) => document.body.append(event.data);
</script></body>"""


def chat(request):
    return HttpResponse(Template(PAGE).render(RequestContext(request)))


urlpatterns = [path("orders/<int:pk>/accept/", accept), path("chat/", chat)]
'''


def write_project(directory: Path) -> None:
    """Write the project, each block to the file that its first line names."""
    blocks = re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert len(blocks) == PAGE.read_text().count("```python\n")
    files = dict(blocks)
    files["settings.py"] = SETTINGS + files["settings.py"]
    files["urls.py"] = URLS
    files["shop/__init__.py"] = files["shop/tests/__init__.py"] = ""
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)


def environment(directory: Path) -> dict[str, str]:
    """What its tests run in."""
    paths = [str(directory), str(PAGE.parents[1] / "src"), *filter(None, sys.path)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "DJANGO_SETTINGS_MODULE": "settings",
    }
