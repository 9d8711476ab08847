from django.urls import path

from . import views

app_name = "chat"
urlpatterns = [
    path("chat/", views.rooms, name="rooms"),
    path("chat/<slug:room>/", views.RoomPage.as_view(), name="room"),
    path("members/", views.MembersPage.as_view(), name="members"),
]
