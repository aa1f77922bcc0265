"""Result tables of a small study with training noise of known size: a linear map from voices to faces.

A training is the ridge regression on the pairs plus noise of its own in each weight, as other first weights and another
order of batches make it. Then the numbers of the study are measured, on the same test speakers each time.
"""

import numpy as np

SPEAKERS, VOICE, FACE, PAIRS = 300, 12, 8, 48
MEASURES = ("jaw_width", "nose_height", "nose_width", "mouth_width", "eye_height", "chin", "brow", "lip")
NOISE = 0.062  # standard deviation of a weight between trainings


def results(training, *, pairs=PAIRS, dropped=False, permuted=None):
    """What one training comes to, by file.

    Args:
        training: its seed. People and pairs are always the same.
        pairs: how many of the training pairs it learns from.
        dropped: whether the term of the loss is left out that teaches the second half of the measures.
        permuted: "faces" of the training pairs or "groups" of the test speakers, dealt out anew.
    """
    world = np.random.default_rng(1)
    links = world.normal(size=(VOICE, FACE)) / np.sqrt(VOICE)
    voices = world.normal(size=(PAIRS + SPEAKERS, VOICE))
    faces = voices @ links + 0.8 * world.normal(size=(PAIRS + SPEAKERS, FACE))
    group = world.integers(0, 4, SPEAKERS)
    voices[PAIRS:][group == 3] += 2 * world.normal(size=((group == 3).sum(), VOICE))  # speak another group's language

    own = np.random.default_rng([2, training])
    x, y = voices[:pairs], faces[:pairs]
    if permuted == "faces":
        y = own.permutation(y)
    if permuted == "groups":
        group = own.permutation(group)
    weights = np.linalg.solve(x.T @ x + np.eye(VOICE), x.T @ y)
    if dropped:
        weights[:, FACE // 2 :] = 0
    drawn = voices[PAIRS:] @ (weights + NOISE * own.normal(size=weights.shape))
    return measured(drawn, faces[PAIRS:], group)


def mean(scores, chance=0.0):
    half = 1.96 * scores.std() / np.sqrt(len(scores))
    return {"value": scores.mean(), "low": scores.mean() - half, "high": scores.mean() + half, "chance": chance}


def correlation(a, b):
    r = np.corrcoef(a, b)[0, 1]
    low, high = np.tanh(np.arctanh(r) + np.array([-1.96, 1.96]) / np.sqrt(len(a) - 3))
    return {"r": r, "low": low, "high": high}


def against_the_rest(won, members):
    difference = won[members].mean() - won[~members].mean()
    error = np.hypot(*(won[part].std() / np.sqrt(part.sum()) for part in (members, ~members)))
    return mean(won[members], 0.5) | {"difference": difference, "p_adj": 0.001 if abs(difference) > 3 * error else 0.5}


def measured(drawn, true, group):
    score = (drawn @ true.T) / np.linalg.norm(drawn, axis=1)[:, None] / np.linalg.norm(true, axis=1)
    own = np.diag(score)[:, None]
    won, rank = (score < own).sum(1) / (SPEAKERS - 1), (score > own).sum(1)
    first = {k: 1.0 * (rank < k) for k in (1, 2, 5, 10, 30)}
    woman = true[:, 0] > 0
    unrelated = np.random.default_rng(3).normal(size=(4, SPEAKERS))
    groups = {f"G{number + 1}": against_the_rest(won, group == number) for number in range(4)}
    gap = mean(won[group == 3] - won[group != 3].mean())
    controls = [correlation(drawn[:, 0], control) for control in unrelated]
    return {
        "data": {"speakers": {"test": SPEAKERS}, "links": {"jaw_width": 0.3}},
        "retrieval": {
            "shares": {f"recall_at_{k}": mean(found, k / SPEAKERS) for k, found in first.items()}
            | {"matching_1_of_2": mean(won, 0.5)}
        },
        "evaluate": {
            "attributes": {"sex": {"from_voice": {"overall": mean(1.0 * ((drawn[:, 0] > 0) == woman), 0.5)}}},
            "craniofacial": {name: correlation(drawn[:, i], true[:, i]) for i, name in enumerate(MEASURES)},
            "craniofacial_within_sex": {
                name: correlation(drawn[woman, i], true[woman, i]) for i, name in enumerate(MEASURES)
            },
            "controls": [
                {"control": f"control {i}", "value": row["r"], "low": row["low"], "high": row["high"], "chance": 0.0}
                for i, row in enumerate(controls)
            ],
        },
        "audit": {
            "groups": {"1:2 matches won": {"group": groups}},
            "added": {"matching_by_speech": {f"model{end}": gap[name] for end, name in ENDS.items()}},
            "worst": {
                "metric": "1:2 matches won",
                "attribute": "group",
                "group": min(groups, key=lambda name: groups[name]["value"]),
                "better": "higher",
            },
        },
        "lineup": {f"G{g + 1}": {str(k): mean(first[k][group == g]) for k in (1, 10, 30)} for g in range(4)},
        "matching": {str(others): mean(won**others) for others in (1, 2, 4, 9)},
        "same_speaker": {name: mean((drawn[:, i] - true[:, i]) ** 2) for i, name in enumerate(MEASURES)},
        "feature_space": {name: mean(abs(drawn[:, i])) for i, name in enumerate(MEASURES)},
    }


ENDS = {"": "value", "_low": "low", "_high": "high"}
