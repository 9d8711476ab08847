from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", include("showcase.urls")),
    path("", include("chat.urls")),
    path("", include("orders.urls")),
    path("login/", LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    # The admin's pages name no icon.
    path("favicon.ico", RedirectView.as_view(url=static("showcase/icon.svg"))),
]
