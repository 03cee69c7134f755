"""URLs of submissions, runs, samples and the queue."""

from django.urls import path

from leaderboard.runs.views import files, keys, samples, status, submit

urlpatterns = [
    path("submit/", submit.submit, name="submit"),
    path("submissions/<slug:public_id>/", status.submission, name="submission"),
    path("runs/<slug:public_id>/", status.run, name="run"),
    path("runs/<slug:public_id>/cancel/", status.cancel, name="run_cancel"),
    path("runs/<slug:public_id>/retry/", status.retry, name="run_retry"),
    path("runs/<slug:public_id>/hold/", status.hold, name="run_hold"),
    path("runs/<slug:public_id>/manifest/", status.manifest, name="manifest"),
    path("runs/<slug:public_id>/files/<slug:form>/", files.files, name="files"),
    path("runs/<slug:public_id>/samples/", samples.samples, name="samples"),
    path("runs/<slug:public_id>/samples/<int:pk>/", samples.sample, name="sample"),
    path(
        "runs/<slug:public_id>/samples/<int:pk>/text/<slug:what>/",
        samples.sample_text,
        name="sample_text",
    ),
    path("keys/", keys.keys, name="keys"),
    path("keys/<slug:public_id>/delete/", keys.forget, name="key_delete"),
    path("status/", status.queue, name="status"),
]
