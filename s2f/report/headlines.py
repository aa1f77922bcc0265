"""The study in short: the dozen numbers that stand for it, and the conclusions drawn from them.

All of it is read from results/*.json by code, so that two runs can be set beside each other (`s2f.report.compare`). A
study has its own share of the list: what rests on a stage that it does not have is left out.
"""

from typing import NamedTuple

from s2f.report.estimates import numbers

# ---- the dozen

HEADLINES = {
    "recall_at_1": "retrieval.shares.recall_at_1.value",
    "recall_at_10": "retrieval.shares.recall_at_10.value",
    "matching": "retrieval.shares.matching_1_of_2.value",
    "matching_among_alike": "retrieval.matching.ours.same sex and age_band and group.value",
    "sex": "evaluate.attributes.sex.from_voice.overall.value",
    "age_band": "evaluate.attributes.age_band.from_voice.overall.value",
    "jaw_width": "evaluate.craniofacial.jaw_width.r",
    "nose_height": "evaluate.craniofacial.nose_height.r",
    "nose_height_in_one_sex": "evaluate.craniofacial_within_sex.nose_height.r",
    "gap_by_language": "audit.added.matching_by_speech.model",
    "contrastive_gain": "ablations.objective.contrastive_learned.difference",
    "null_nose_height": "null_world.within_sex_and_age.nose_height.r",
    # The study of the published samples: matching by the original's drawings and by ours.
    "original": "ours.matching.anybody.exg0.value",
    "ours": "ours.matching.anybody.ours: contrastive.value",
    "lead": "ours.matching.anybody.ours: contrastive.difference",
    "lead_in_one_sex": "ours.matching.same sex.ours: contrastive.difference",
    "lead_on_others": "ours.voxceleb.matching.anybody.ours: contrastive.difference",
}


def metrics(results: dict) -> dict[str, dict[str, float]]:
    """The headlines that a study has, by short name: `value`, `low` and `high`."""
    known = numbers(results)
    return {
        name: {"value": known[key].value, "low": known[key].low, "high": known[key].high}
        for name, key in HEADLINES.items()
        if key in known
    }


# ---- conclusions


class Claim(NamedTuple):
    """What is concluded from one number by the side of a boundary on which its interval lies."""

    key: str
    sentence: str  # with {} where one of `words` stands
    words: tuple[str, str, str]  # below the boundary, the boundary inside the interval, above
    boundary: float | None = 0.0  # None: chance


CHANCE = ("less often than", "no more often than", "more often than")
CORRELATION = ("go against each other", "do not go together", "go together")
LEAD = ("behind", "no better than", "ahead of")

CLAIMS = (
    Claim("retrieval.shares.recall_at_1.value", "The true face ranks first {} by chance.", CHANCE, None),
    Claim("retrieval.shares.recall_at_10.value", "The true face is among the first 10 {} by chance.", CHANCE, None),
    Claim(
        "retrieval.matching.ours.same sex and age_band and group.value",
        "The true face wins against one of like sex, age and group {} by chance.", CHANCE, None,
    ),
    Claim("evaluate.attributes.sex.from_voice.overall.value", "Sex is drawn right {} by chance.", CHANCE, None),
    Claim("evaluate.attributes.age_band.from_voice.overall.value", "Age is drawn right {} by chance.", CHANCE, None),
    Claim("evaluate.craniofacial.jaw_width.r", "Drawn and true width of the jaw {}.", CORRELATION),
    Claim("evaluate.craniofacial_within_sex.nose_height.r", "Within sex, heights of the nose {}.", CORRELATION),
    Claim("evaluate.craniofacial_within_sex.nose_width.r", "Within sex, widths of the nose {}.", CORRELATION),
    Claim(
        "audit.added.matching_by_speech.model",
        "Speakers of another group's language win {} of their matches than others.", ("fewer", "no fewer", "more"),
    ),
    Claim(
        "ablations.objective.contrastive_learned.difference",
        "After a short training, maps of a contrastive term rank {} the paper's objective.",
        ("worse than", "no better than", "better than"),
    ),
    Claim(
        "null_world.within_sex_and_age.nose_height.r",
        "With the links cut, heights of the nose {} within sex and age.", CORRELATION,
    ),
    Claim("ours.matching.anybody.exg0.value", "The original's drawings win their matches {} by chance.", CHANCE, None),
    Claim("ours.matching.anybody.ours: contrastive.difference", "Ours is {} the original.", LEAD),
    Claim("ours.matching.same sex.ours: contrastive.difference", "Within sex ours is {} the original.", LEAD),
    Claim(
        "ours.voxceleb.matching.anybody.ours: contrastive.difference",
        "On people of another set ours is {} the original.", LEAD,
    ),
)  # fmt: skip
DRAWN = ("something", "nothing", "something")
SERVED = ("worse than", "as well as", "better than")
SIGNIFICANT = 0.05  # of a p that allows for all comparisons of the audit


class Conclusion(NamedTuple):
    """A sentence that follows from one number."""

    key: str  # of the number
    side: int  # of the boundary
    sentence: str


def conclusions(results: dict, worst: dict | None = None) -> list[Conclusion]:
    """The conclusions of a study, each derived from one of its numbers.

    Args:
        results: what the stages left in results/*.json, by file name.
        worst: the group that the audit found served worst, as `audit.worst` holds it; default: that of `results`. With
            that of another run, it is asked whether this run finds the same.
    """
    known = numbers(results)
    found = []
    for claim in CLAIMS:
        if claim.key in known:
            number = known[claim.key]
            side = number.side(number.chance if claim.boundary is None else claim.boundary)
            found.append(Conclusion(claim.key, side, claim.sentence.format(claim.words[side + 1])))
    for index, control in enumerate(results.get("evaluate", {}).get("controls", [])):
        key = f"evaluate.controls.{index}.value"
        if key in known:
            side = known[key].side(known[key].chance)
            found.append(Conclusion(key, side, f"The drawn face says {DRAWN[side + 1]} of {control['control']}."))
    audit = results.get("audit", {})
    worst = audit.get("worst") if worst is None else worst
    if worst and (row := _group(audit, worst)):
        differs = row["p_adj"] < SIGNIFICANT and row["difference"] != 0
        better = (row["difference"] > 0) == (worst["better"] == "higher")
        side = int(differs) * (1 if better else -1)
        who = f"{worst['attribute'].replace('_', ' ')} {worst['group']}"
        key = f"audit.groups.{worst['metric']}.{worst['attribute']}.{worst['group']}.value"
        found.append(
            Conclusion(key, side, f"Speakers of {who} are served {SERVED[side + 1]} the others: {worst['metric']}.")
        )
    return found


def _group(audit: dict, worst: dict) -> dict | None:
    """The numbers of the group that was served worst; None where the audit does not have it."""
    row = audit.get("groups", {})
    for name in ("metric", "attribute", "group"):
        row = row.get(worst.get(name), {})
    return row if None not in (row.get("difference"), row.get("p_adj")) else None
