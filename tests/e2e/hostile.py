"""Fills a server with hostile texts, wherever users and models may put some."""

from __future__ import annotations

import itertools

from leaderboard.runs.models import State
from tests.leaderboard import factories as make

PAYLOADS = [
    "<script>pwned()</script>",
    "<img src=x onerror=pwned()>",
    "<svg onload=pwned()>",
    "<svg><script>pwned()</script></svg>",
    "<body onload=pwned()>",
    "<iframe srcdoc='<script>parent.pwned()</script>'></iframe>",
    "<a href=javascript:pwned()>x</a>",
    "<details open ontoggle=pwned()>x</details>",
    "<input autofocus onfocus=pwned()>",
    "<video><source onerror=pwned()></video>",
    "<math><mtext><script>pwned()</script></mtext></math>",
    "<style>*{background:url('https://evil.test/')}</style>",
    "<link rel=stylesheet href=https://evil.test/x.css>",
    "<meta http-equiv=refresh content='0;url=https://evil.test/'>",
    "<form action=https://evil.test/><button>x</button></form>",
    "<base href=https://evil.test/>",
    "<div hx-get=/status/ hx-trigger=load>x</div>",
    "<object data=javascript:pwned()></object>",
    "![x](https://evil.test/x.png)",
    "[x](javascript:pwned())",
    "{{ request.user }}{% csrf_token %}",
    "\u202egnp.exe\u202c \u2066hidden\u2069",
    "a\u200bb\u200cc\u200dd\ufeffe",
    "\x01\x07\x1b[31mred\x7f\x9b",
    "\u2028pwned()\u2029",
    "\U000e0041\U000e0042\U000e0043",
]
WRAPPERS = [
    "{}", "</pre>{}", "</bdi></pre>{}", '">{}', "'>{}", "-->{}", "]]>{}", "</title>{}",
    "</textarea>{}", "</script>{}", "</summary></details>{}", "</code>{}", "</table>{}",
    "<!--{}", "<![CDATA[{}", "&lt;{}", "\u202e{}", "<pre>{}", "`{}`", "x" * 5000 + "{}",
]  # fmt: skip
CASES = [wrapper.replace("{}", text) for wrapper, text in itertools.product(WRAPPERS, PAYLOADS)]
TURNS = 26


def fill() -> list[str]:
    """Make a run whose names, questions, answers and verdicts hold every case; return its pages."""
    pages = []
    evaluator = make.EvaluatorFactory(
        name="hostile",
        version=CASES[5][:64],
        summary=CASES[6],
        description=CASES[7],
        installed=False,
    )
    suite = make.SuiteFactory(name="hostile")
    user = make.UserFactory(username=CASES[0])
    run = None
    for number, case in enumerate(CASES[:40]):
        model = make.LanguageModelFactory(label=case[:200], location=case[:200])
        submission = make.SubmissionFactory(user=user, model=model, suite=suite)
        run = make.RunFactory(
            submission=submission,
            evaluator=evaluator,
            state=State.COMPLETED,
            params={"rounds": case},
        )
        make.completed(run)
        pages += [f"/models/{model.public_id}/"] if number < 10 else []
    shard = make.ShardFactory(run=run)
    make.EventFactory(run=run, reason=CASES[1], actor=CASES[2])
    make.AttemptFactory(shard=shard, detail=CASES[3], worker=CASES[4][:120])
    for start in range(0, len(CASES), TURNS):
        chunk = CASES[start : start + TURNS]
        result = make.SampleResultFactory(
            shard=shard, question=chunk[0], gold=chunk[-1], sample_id=f"s{start}", flip="ci",
            facts={chunk[1][:50]: chunk[2]}, failure_id="x:y:z", failure_detail=chunk[3],
        )  # fmt: skip
        for idx, case in enumerate(chunk):
            messages = [{"role": "user", "content": case}, {"role": "<b>", "content": case[::-1]}]
            make.NodeFactory(result=result, idx=idx, round=idx, text=case, messages=messages)
            make.AnswerFactory(
                result=result, idx=idx, node_idx=idx, extracted=case[:300], scores={case[:80]: 1.0}
            )
        pages.append(f"/runs/{run.public_id}/samples/{result.pk}/")
    base = f"/runs/{run.public_id}/"
    pages += [base, f"{base}samples/", "/?suite=hostile", "/status/", "/methods/hostile/"]
    return [*pages, "/methods/", f"/submissions/{run.submission.public_id}/"]
