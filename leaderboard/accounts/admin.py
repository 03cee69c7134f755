"""Accounts in the admin site."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from leaderboard.accounts.models import User

admin.site.site_header = "Redraft administration"
admin.site.site_title = "Redraft"
admin.site.register(User, UserAdmin)
