"""The same scenarios as Channels consumers, sync and async, written as its documentation does."""

from asgiref.sync import async_to_sync
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer

from .work import block, query


class Echo(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        self.send(text_data=text_data)


class Sleep(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        block()
        self.send(text_data=text_data)


class Orm(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        query()
        self.send(text_data=text_data)


class Fan(WebsocketConsumer):
    def connect(self):
        async_to_sync(self.channel_layer.group_add)("fan", self.channel_name)
        self.accept()

    def receive(self, text_data=None, bytes_data=None):
        async_to_sync(self.channel_layer.group_send)("fan", {"type": "fan.out", "text": text_data})

    def fan_out(self, event):
        self.send(text_data=event["text"])


class Auth(WebsocketConsumer):
    def connect(self):
        if self.scope["user"].is_authenticated:
            self.accept()
        else:
            self.close()

    def receive(self, text_data=None, bytes_data=None):
        self.send(text_data=text_data)


class AsyncEcho(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data)


class AsyncSleep(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await database_sync_to_async(block)()
        await self.send(text_data=text_data)


class AsyncOrm(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await database_sync_to_async(query)()
        await self.send(text_data=text_data)


class AsyncFan(AsyncWebsocketConsumer):
    async def connect(self):
        await self.channel_layer.group_add("fan", self.channel_name)
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("fan", {"type": "fan.out", "text": text_data})

    async def fan_out(self, event):
        await self.send(text_data=event["text"])


class AsyncAuth(AsyncWebsocketConsumer):
    async def connect(self):
        if self.scope["user"].is_authenticated:
            await self.accept()
        else:
            await self.close()

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data)
