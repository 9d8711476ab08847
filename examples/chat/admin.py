from django.contrib import admin

from .models import Message


@admin.register(Message)
class MessageAdmin(admin.ModelAdmin):
    list_display = ["text", "author", "group", "time"]
    list_filter = ["group"]
