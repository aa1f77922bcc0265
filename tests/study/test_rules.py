"""Settings that do not go together are refused with their keys and values, before anything starts."""

import copy

import pytest
from repository import ROOT

from s2f.models import losses
from s2f.study import config, rules
from s2f.study.paths import UserError
from s2f.synthetic import people

DEFAULT = config.read(ROOT / "params.yaml")
BROKEN = [
    ({"retrieval.gallery": 5000}, "retrieval.gallery is 5000 and data.test_speakers is 400"),
    ({"data.test_speakers": 60}, "retrieval.gallery is 100 and data.test_speakers is 60"),
    ({"predict.headline_seconds": 5.0}, "headline_seconds is 5.0 and predict.durations"),
    ({"predict.durations": [6.0, 20.0]}, "durations is .*20.0.* and data.test_seconds is 10.0"),
    ({"predict.durations": [6.0, 6.0]}, "each counts once"),
    ({"ablation_table.durations": [1.0, 3.0]}, "headline_seconds is 6.0 and ablation_table.durations"),
    ({"ablation_table.by_length": ["full", "six_seconds", "seven"]}, "'seven'.*must be names of runs"),
    ({"ablation_table.by_length": ["full"]}, "full and six_seconds are shown by duration"),
    ({"ablations": {"full": DEFAULT["ablations"]["full"]}}, "must be among the runs"),
    ({"languages.languages": ["en-us", "klingon"]}, "klingon"),
    ({"languages.languages": ["en-us", "cmn"]}, "two that one group speaks"),
    ({"languages.languages": ["de", "de"]}, "two that one group speaks"),
    ({"languages.speakers": 500}, "languages.speakers is 500"),
    ({"feature_space.perplexity": 1000.0}, "perplexity is 1000.0"),
    ({"feature_space.neighbours": 400}, "neighbours is 400"),
    ({"feature_space.shown": 401}, "shown is 401"),
    ({"cartoon.shown": 4000}, "cartoon.shown is 4000"),
    ({"voice_probes.speakers": 500}, "voice_probes.speakers is 500"),
    ({"voice_probes.speakers": 47}, "as many women as men"),
    ({"audit.minimum_speakers": 401}, "minimum_speakers is 401"),
    ({"lineup.members": 400}, "lineup.members is 400"),
    ({"lineup.firsts": [1, 500]}, "lineup.firsts is .1, 500."),
    ({"matching.seen_speakers": 1501}, "seen_speakers is 1501 and data.train_speakers is 1500"),
    ({"same_speaker.segment_seconds": 6.0}, "two segments must fit"),
    ({"same_speaker.speakers_per_group": 101}, "speakers_per_group is 101"),
    ({"galleries.sizes": [100]}, "galleries.sizes is .100."),
    ({"galleries.population": 400}, "galleries.population is 400"),
    ({"galleries.probes": [1, 512]}, "galleries.probes is .1, 512. and galleries.cells is 256"),
    ({"mitigation.seeds": [1, 1]}, "a seed of its own"),
    ({"face_model.feature": "dlib"}, "compares identity scores"),
    ({"face_model.feature": "vgg_face", "face_model.weights": "absent.pth"}, "'absent.pth', but there is no such file"),
    ({"data.group_shares": {"G1": 1.0}}, "G1 to G4"),
    ({"null_world.size": 80}, "null_world.size is 80 and data.size is 64"),
]


def changed(values):
    sections = copy.deepcopy(DEFAULT)
    for key, value in values.items():
        section, _, name = key.partition(".")
        if name:
            sections[section][name] = value
        else:
            sections[section] = value
    return sections


def test_the_default_study_breaks_none():
    rules.check(DEFAULT, ROOT / "params.yaml")


@pytest.mark.parametrize(("values", "sentence"), BROKEN, ids=[" ".join(values) for values, _ in BROKEN])
def test_what_does_not_go_together_is_named(values, sentence):
    with pytest.raises(UserError, match=sentence):
        rules.check(changed(values), ROOT / "params.yaml")


def test_a_rule_concerns_only_studies_with_its_sections():
    """A corpus of one's own says nothing of how many speakers there are."""
    sections = changed({"retrieval.gallery": 5000}) | {"data": {"table": "recordings.csv"}}
    rules.check(sections, ROOT / "params.yaml")
    rules.check({"retrieval": sections["retrieval"]}, ROOT / "params.yaml")


@pytest.mark.parametrize("seed", [-1, 2**32])
@pytest.mark.parametrize("section", [name for name in DEFAULT if "seed" in DEFAULT[name]])
def test_a_seed_that_no_generator_takes_is_refused(section, seed):
    with pytest.raises(UserError, match="'seed' is"):
        config.parse(config.SECTIONS[section], DEFAULT[section] | {"seed": seed}, section)


def test_the_world_is_the_one_that_the_rules_know():
    assert set(people.GROUPS) == rules.GROUPS
    pairs = [set(spoken) for spoken in people.HOME_LANGUAGES.values() if len(spoken) == 2]
    assert sorted(map(sorted, pairs)) == sorted(map(sorted, rules.PAIRS))


def test_the_losses_are_those_that_the_rules_know():
    with_scores = {loss for loss, kept in losses.KEPT.items() if "distill" in kept} | {"contrastive"}
    every = set(config.Train.model_fields["loss"].annotation.__args__)
    assert every - with_scores == rules.WITHOUT_SCORES
