"""Secrets at rest: sealed for one purpose, opened by any key, rotated to the first."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from leaderboard.accounts import vault
from leaderboard.core.logs import MASK, redact

CANARY = "canary-of-the-vault-0123456789"
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def with_keys(*keys: str):
    return override_settings(REDRAFT_FIELD_KEYS=list(keys))


def test_what_is_sealed_opens_again_and_shows_nothing():
    token = vault.seal(CANARY, purpose="https://a")
    assert CANARY not in token
    assert vault.unseal(token, purpose="https://a") == CANARY


def test_two_seals_of_one_secret_differ():
    assert vault.seal(CANARY, purpose="x") != vault.seal(CANARY, purpose="x")


def test_refuses_another_purpose():
    token = vault.seal(CANARY, purpose="https://a")
    with pytest.raises(vault.Unreadable, match="for something else"):
        vault.unseal(token, purpose="https://b")


def test_the_first_key_encrypts_and_all_decrypt():
    with with_keys(OLD):
        token = vault.seal(CANARY, purpose="x")
    with with_keys(NEW, OLD):
        assert vault.unseal(token, purpose="x") == CANARY
        rotated = vault.reseal(token)
    with with_keys(NEW):
        assert vault.unseal(rotated, purpose="x") == CANARY
        for use in (vault.reseal, lambda t: vault.unseal(t, purpose="x")):
            with pytest.raises(vault.Unreadable, match="REDRAFT_FIELD_KEYS") as caught:
                use(token)
            assert CANARY not in repr(caught.value)


def test_refuses_a_key_that_is_none_without_quoting_it():
    with with_keys("not-a-key-at-all"), pytest.raises(ImproperlyConfigured) as caught:
        vault.check_keys()
    assert "not-a-key-at-all" not in str(caught.value)


def test_keeps_a_key_of_its_own_that_only_its_owner_reads(tmp_path):
    with override_settings(REDRAFT_VAR=tmp_path, REDRAFT_FIELD_KEYS=[]):
        token = vault.seal(CANARY, purpose="x")
        assert vault.unseal(token, purpose="x") == CANARY
    path = tmp_path / vault.KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert settings.SECRET_KEY not in path.read_text()
    assert [entry.name for entry in Path(tmp_path).iterdir()] == [vault.KEY_FILE]


def test_logs_never_show_what_the_vault_has_seen():
    vault.unseal(vault.seal(CANARY, purpose="x"), purpose="x")
    assert redact(f"called with {CANARY}!") == f"called with {MASK}!"
