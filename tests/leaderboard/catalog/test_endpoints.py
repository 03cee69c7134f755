"""Endpoints and their keys: which URLs are taken, whose keys they are, and where a key goes."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.test import override_settings

from evaluators.errors import BadModel
from leaderboard.accounts import vault
from leaderboard.catalog.endpoints import read_endpoint
from leaderboard.catalog.keys import KeyMissing, delete_key, rotate_keys, secret_of, store_key
from leaderboard.catalog.models import EndpointKey, LanguageModel
from leaderboard.catalog.services import note_probed, register_endpoint, register_model
from tests.leaderboard import factories as make

CANARY = "sk-canary-0123456789abcdef"
HERE = override_settings(REDRAFT_ENDPOINT_ALLOW=["localhost:8000", "127.0.0.1:9000"])
"""Settings under which two hosts may be called that nobody would look up elsewhere."""


@pytest.fixture
def user(db):
    return make.UserFactory()


@pytest.fixture
def other(db):
    return make.UserFactory()


def register(user, url="http://localhost:8000/v1", name="tiny", secret="", **more):
    with HERE:
        return register_endpoint(user=user, url=url, name=name, secret=secret, **more)


class TestUrls:
    @pytest.mark.parametrize(
        ("typed", "url", "origin"),
        [
            ("https://1.1.1.1/v1/", "https://1.1.1.1/v1", "https://1.1.1.1:443"),
            (" https://1.1.1.1:443/v1/chat/completions ", "https://1.1.1.1/v1", "https://1.1.1.1:443"),
            ("http://LOCALHOST:8000/v1", "http://localhost:8000/v1", "http://localhost:8000"),
            ("http://localhost:8000", "http://localhost:8000", "http://localhost:8000"),
            ("https://[2606:4700::1111]/v1", "https://[2606:4700::1111]/v1",
             "https://[2606:4700::1111]:443"),
        ],
    )  # fmt: skip
    def test_are_brought_into_one_form(self, typed, url, origin):
        with HERE:
            found = read_endpoint(typed)
        assert (found.url, found.origin) == (url, origin)

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("ftp://1.1.1.1", "must begin with https"),
            ("http://1.1.1.1/v1", "must be https"),
            ("https://1.1.1.1:8080/v1", "port 8080"),
            ("https://127.0.0.1/v1", "not a public address"),
            ("https://169.254.169.254/latest", "not a public address"),
            ("https://[::ffff:10.0.0.1]/v1", "not a public address"),
            ("https://localhost/v1", "not a public address"),
            ("http://localhost:8001/v1", "must be https"),
            ("https://me:secret@1.1.1.1/v1", "user name or password"),
            ("https://1.1.1.1/v1?key=secret", "neither query nor fragment"),
            ("not a url", "characters"),
            ("", "must begin with https"),
        ],
    )
    def test_refuses(self, url, words):
        with HERE, pytest.raises(BadModel, match=words) as caught:
            read_endpoint(url)
        assert "secret" not in str(caught.value)

    def test_further_ports_are_a_setting(self):
        with override_settings(REDRAFT_ENDPOINT_PORTS=[8443]):
            assert read_endpoint("https://1.1.1.1:8443/v1").origin == "https://1.1.1.1:8443"


class TestEndpoints:
    def test_is_recorded_for_its_owner(self, user):
        row = register(user, secret=CANARY, concurrency=4)
        assert (row.source, row.runtime, row.location) == (
            "endpoint", "endpoint", "http://localhost:8000/v1",
        )  # fmt: skip
        assert (row.owner, row.keyed, row.batch_size) == (user, True, 4)
        assert row.args == {"base_url": "http://localhost:8000/v1", "model": "tiny"}
        assert row.key.last_four == "cdef"
        assert register(user, secret=CANARY, concurrency=4) == row

    @pytest.mark.parametrize("change", [{"name": "small"}, {"url": "http://127.0.0.1:9000/v1"},
                                        {"concurrency": 2}, {"args": {"timeout": 5}}])  # fmt: skip
    def test_another_endpoint_is_another_model(self, user, change):
        assert register(user, **change) != register(user)

    def test_two_owners_never_share_one(self, user, other):
        assert register(user, secret=CANARY) != register(other, secret=CANARY)

    def test_names_public_hosts_only(self, user):
        assert register(user).label == "tiny (private endpoint)"
        assert register(user, url="https://1.1.1.1/v1").label == "tiny (1.1.1.1)"

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"url": "https://10.0.0.1/v1"}, "not a public address"),
            ({"name": ""}, "model's name"),
            ({"name": "a\u202eb"}, "model's name"),
            ({"secret": "two words"}, "its key holds characters"),
            ({"secret": "line\nbreak"}, "its key holds characters"),
            ({"concurrency": 0}, "from 1 to 256"),
            ({"args": {"api_key": CANARY}}, "would be public"),
            ({"args": {"api_key_env": "HOME"}}, "field of its own"),
            ({"args": {"base_url": "http://evil"}}, "field of its own"),
            ({"args": {"no_such_option": 1}}, "no argument 'no_such_option'"),
        ],
    )
    def test_refuses_and_stores_nothing(self, user, change, words):
        with pytest.raises(BadModel, match=words) as caught:
            register(user, **{"secret": CANARY, **change})
        assert CANARY not in str(caught.value)
        assert not LanguageModel.objects.exists()
        assert not EndpointKey.objects.exists()

    def test_refuses_an_endpoint_by_the_back_door(self, user):
        with pytest.raises(BadModel, match="submitted by its URL"):
            register_model(source="bundled", location="", runtime="endpoint", model_class="x")

    def test_remembers_what_was_found_when_it_ran(self, user):
        row = register(user)
        note_probed(row.pk, capabilities={"echo", "chat"}, context_window=4096)
        row.refresh_from_db()
        assert (row.capabilities, row.context_window) == (["chat", "echo"], 4096)
        assert row.probed_at is not None


class TestKeys:
    def test_come_back_for_the_call_and_say_when(self, user):
        row = register(user, secret=CANARY)
        assert CANARY not in row.key.token
        assert secret_of(row.pk) == CANARY
        assert EndpointKey.objects.get().last_used_at is not None

    def test_are_not_needed_twice_for_one_host(self, user):
        register(user, secret=CANARY)
        again = register(user, name="small")
        assert secret_of(again.pk) == CANARY
        assert EndpointKey.objects.count() == 1

    def test_are_never_taken_to_another_host(self, user):
        register(user, secret=CANARY)
        elsewhere = register(user, url="http://127.0.0.1:9000/v1")
        assert (elsewhere.keyed, secret_of(elsewhere.pk)) == (False, None)

    def test_are_never_lent_to_another_user(self, user, other):
        register(user, secret=CANARY)
        assert secret_of(register(other).pk) is None

    def test_a_row_that_was_tampered_with_sends_no_key(self, user):
        row = register(user, secret=CANARY)
        LanguageModel.objects.filter(pk=row.pk).update(location="https://1.1.1.1/v1")
        EndpointKey.objects.update(origin="https://1.1.1.1:443")
        with pytest.raises(KeyMissing, match="stored for something else") as caught:
            secret_of(row.pk)
        assert CANARY not in str(caught.value)

    def test_a_new_one_takes_the_place_of_the_old(self, user):
        first = register(user, secret=CANARY)
        second = register(user, name="small", secret="another-key-of-1234")  # noqa: S106 - a test's own
        assert secret_of(first.pk) == secret_of(second.pk) == "another-key-of-1234"
        assert EndpointKey.objects.get().last_four == "1234"

    def test_a_deleted_one_is_missed(self, user):
        row = register(user, secret=CANARY)
        delete_key(row.key)
        with pytest.raises(KeyMissing, match="it was deleted"):
            secret_of(row.pk)

    def test_an_endpoint_without_key_is_called_without(self, user):
        assert secret_of(register(user).pk) is None

    def test_little_is_shown_of_a_short_one(self, user):
        key = store_key(user=user, origin="x", secret="abc1234")  # noqa: S106 - a test's own
        assert key.last_four == ""


class TestRotation:
    OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()

    def test_encrypts_everything_with_the_first_key(self, user, capsys):
        with override_settings(REDRAFT_FIELD_KEYS=[self.OLD]):
            row = register(user, secret=CANARY)
        with override_settings(REDRAFT_FIELD_KEYS=[self.NEW, self.OLD]):
            call_command("rotate_keys")
        assert "1 keys encrypted anew" in capsys.readouterr().out
        with override_settings(REDRAFT_FIELD_KEYS=[self.NEW]):
            assert secret_of(row.pk) == CANARY

    def test_leaves_what_it_cannot_open(self, user):
        with override_settings(REDRAFT_FIELD_KEYS=[self.OLD]):
            row = register(user, secret=CANARY)
        with override_settings(REDRAFT_FIELD_KEYS=[self.NEW]):
            assert rotate_keys() == (0, [row.key.public_id])
            with pytest.raises(CommandError, match=row.key.public_id):
                call_command("rotate_keys")
            with pytest.raises(KeyMissing, match="REDRAFT_FIELD_KEYS"):
                secret_of(row.pk)

    def test_prints_a_new_key(self, capsys):
        call_command("rotate_keys", new=True)
        with override_settings(REDRAFT_FIELD_KEYS=[capsys.readouterr().out.strip()]):
            vault.check_keys()
