"""The bundled metrics: name, header, definition and direction of each."""

from __future__ import annotations

from evaluators.metrics import measures as m
from evaluators.metrics.metric import Metric

_TOKENS = {"direction": "lower", "unit": "tokens", "group": "cost"}
_CALLS = _TOKENS | {"unit": "calls"}
_QUALITY = {"direction": "lower", "group": "quality"}


def _metric(name: str, title: str, definition: str, compute: m.Compute, **kind: str) -> Metric:
    """Fill in what most metrics share: a fraction of which more is better."""
    facts = {"direction": "higher", "unit": "fraction", "group": "decomposition"} | kind
    return Metric(name, title, definition, compute=compute, **facts)  # type: ignore[arg-type]  # literals spelt above and below


def acc_at(turn: int) -> Metric:
    """Return accuracy at a turn, counted from 1."""
    definition = f"Share right at answer {turn}: sum(c_{turn}) / n; the last answer is carried on."
    return _metric(f"acc@{turn}", f"Acc{turn}", definition, m.accuracy_at(turn - 1))


def delta_at(turn: int) -> Metric:
    """Return the gain from the first answer to a turn, counted from 1."""
    definition = f"Gain from the first answer to answer {turn}: acc@{turn} - acc@1, paired."
    return _metric(f"delta@{turn}", f"Δ{turn}", definition, m.gain_at(turn - 1), unit="difference")


def cl_at(turn: int) -> Metric:
    """Return CL from the first answer to a turn, counted from 1."""
    definition = (
        f"Of the answers right at first, the share right at answer {turn}: n_cc / (n_cc + n_ci)."
    )
    return _metric(f"CL@{turn}", f"CL{turn}", definition, m.kept_at(turn - 1))


def cs_at(turn: int) -> Metric:
    """Return CS from the first answer to a turn, counted from 1."""
    definition = (
        f"Of the answers wrong at first, the share right at answer {turn}: n_ic / (n_ic + n_ii)."
    )
    return _metric(f"CS@{turn}", f"CS{turn}", definition, m.fixed_at(turn - 1))


def parse_fail_at(turn: int) -> Metric:
    """Return the share unparsed at a turn, counted from 1."""
    definition = (
        f"Share of samples from whose answer {turn} nothing could be extracted: unparsed / n."
    )
    compute = m.recorded_at("parsed", turn - 1, counting=False)
    return _metric(
        f"parse_fail@{turn}",
        f"Unparsed {turn}",
        definition,
        compute,
        direction="lower",
        group="quality",
    )


def truncated_at(turn: int) -> Metric:
    """Return the share truncated at a turn, counted from 1."""
    definition = f"Share of samples whose answer {turn} hit its token limit: truncated / n."
    compute = m.recorded_at("truncated", turn - 1, counting=True)
    return _metric(
        f"truncated@{turn}",
        f"Truncated {turn}",
        definition,
        compute,
        direction="lower",
        group="quality",
    )


def abstain_at(turn: int) -> Metric:
    """Return the share of abstentions at a turn, counted from 1."""
    definition = f"Share of samples whose answer {turn} declines to answer: abstained / n."
    compute = m.recorded_at("abstained", turn - 1, counting=True)
    return _metric(
        f"abstain@{turn}",
        f"Abstained {turn}",
        definition,
        compute,
        direction="none",
        group="quality",
    )


AT_A_TURN = {
    "acc": acc_at,
    "delta": delta_at,
    "CL": cl_at,
    "CS": cs_at,
    "parse_fail": parse_fail_at,
    "truncated": truncated_at,
    "abstain": abstain_at,
}
"""Metrics that exist for every turn, as `name@turn`."""

decomposition: tuple[Metric, ...] = (
    acc_at(1),
    _metric(
        "acc@last",
        "Acc last",
        "Share right at the last answer: sum(c_T) / n.",
        m.accuracy_at(m.LAST),
    ),
    _metric(
        "delta",
        "Δ",
        "What looking again was worth: acc@last - acc@1, paired.",
        m.gain_at(m.LAST),
        unit="difference",
    ),
    _metric("CL", "CL", "Keeps what is right: n_cc / (n_cc + n_ci).", m.kept_at(m.LAST)),
    _metric("CS", "CS", "Fixes what is wrong: n_ic / (n_ic + n_ii).", m.fixed_at(m.LAST)),
    _metric(
        "RSS",
        "RSS",
        "Relative self-correction score: (acc@last - acc@1^2) / (2 acc@1 (1 - acc@1)); above 1/2"
        " exactly when looking again helped; never clamped to [0, 1].",
        m.rss,
        unit="ratio",
    ),
    _metric(
        "break_even",
        "Break-even",
        "First accuracy below which such CL and CS help, above it harm: CS / (CS + 1 - CL).",
        m.break_even,
    ),
    _metric(
        "n_cc",
        "right→right",
        "Trajectories right at first and last.",
        m.count_of("cc"),
        unit="count",
        direction="none",
    ),
    _metric(
        "n_ci",
        "right→wrong",
        "Trajectories right at first, wrong at last.",
        m.count_of("ci"),
        unit="count",
        direction="lower",
    ),
    _metric(
        "n_ic",
        "wrong→right",
        "Trajectories wrong at first, right at last.",
        m.count_of("ic"),
        unit="count",
    ),
    _metric(
        "n_ii",
        "wrong→wrong",
        "Trajectories wrong at first and last.",
        m.count_of("ii"),
        unit="count",
        direction="none",
    ),
    _metric(
        "c2c_all",
        "right→right, of all",
        "Share right at first and last: n_cc / n.",
        m.rate_of("cc"),
        direction="none",
    ),
    _metric(
        "c2i_all",
        "right→wrong, of all",
        "Share spoilt: n_ci / n.",
        m.rate_of("ci"),
        direction="lower",
    ),
    _metric("i2c_all", "wrong→right, of all", "Share fixed: n_ic / n.", m.rate_of("ic")),
    _metric(
        "i2i_all",
        "wrong→wrong, of all",
        "Share wrong at first and last: n_ii / n.",
        m.rate_of("ii"),
        direction="none",
    ),
    _metric(
        "i2i_changed_all",
        "wrong→other wrong",
        "Share wrong at first and last whose answer changed: n_ii,changed / n.",
        m.stubborn(changed=True),
        direction="none",
    ),
    _metric(
        "i2i_unchanged_all",
        "wrong→same wrong",
        "Share wrong at first and last whose answer never changed: n_ii,unchanged / n.",
        m.stubborn(changed=False),
        direction="none",
    ),
    _metric(
        "change_rate",
        "Changed",
        "Share of samples whose extracted answer changed at any turn: #{a_t != a_(t-1)} / n.",
        m.change_rate,
        direction="none",
    ),
)
"""What happened between the first answer and the last."""

cost: tuple[Metric, ...] = (
    _metric("calls", "Calls", "Model calls per sample.", m.cost("calls"), **_CALLS),
    _metric(
        "tokens_in",
        "Tokens in",
        "Prompt tokens per sample, over all calls.",
        m.cost("tokens_in"),
        **_TOKENS,
    ),
    _metric(
        "tokens_out",
        "Tokens out",
        "Generated tokens per sample, shared calls counted in full.",
        m.cost("tokens_out"),
        **_TOKENS,
    ),
    _metric(
        "tokens_computed",
        "Tokens computed",
        "Generated tokens per sample that were not shared with another run.",
        m.cost("tokens_computed"),
        **_TOKENS,
    ),
    _metric(
        "extra_tokens",
        "Extra tokens",
        "Generated tokens per sample beyond the first answer: tokens_out - tokens_first.",
        m.extra_tokens,
        **_TOKENS,
    ),
    _metric(
        "tokens_per_net_fix",
        "Tokens per net fix",
        "Extra tokens per answer fixed on balance: sum(extra) / (n_ic - n_ci).",
        m.tokens_per_net_fix,
        **_TOKENS,
    ),
)
"""What looking again cost."""

quality: tuple[Metric, ...] = (
    parse_fail_at(1),
    _metric(
        "parse_fail@last",
        "Unparsed last",
        "Share of samples from whose last answer nothing could be extracted: unparsed / n.",
        m.recorded_at("parsed", m.LAST, counting=False),
        **_QUALITY,
    ),
    truncated_at(1),
    _metric(
        "truncated@last",
        "Truncated last",
        "Share of samples whose last answer hit its token limit: truncated / n.",
        m.recorded_at("truncated", m.LAST, counting=True),
        **_QUALITY,
    ),
    abstain_at(1),
    _metric(
        "abstain@last",
        "Abstained last",
        "Share of samples whose last answer declines to answer: abstained / n.",
        m.recorded_at("abstained", m.LAST, counting=True),
        direction="none",
        group="quality",
    ),
    _metric(
        "unscored",
        "Unscored",
        "Share of the samples asked for that have no score: (n_total - n) / n_total.",
        m.unscored,
        **_QUALITY,
    ),
)
"""Whether the answers could be judged at all."""
