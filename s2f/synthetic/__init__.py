"""The synthetic world: speakers whose voice and face come from one known causal model. Only `data`, and notebooks that
ask a corpus for its truth, may look in here.

    changes         record the same people again with one property of the voice changed
    head            a parametric human head in mm
    ideal_observer  exact likelihoods, and the best score and estimate that anybody could reach
    people          draw the people of a world: causes, voices, faces
    readings        traits read off features, for the ideal observer
    render          pictures of heads, with 68 landmarks
    retakes         record the same speakers on other days and in other languages
    sentences       the sentences that speakers read
    skin            colour, hair, eyes, lips and light of a head
    speech          synthesised speech of a given pitch, tract length, rate and breath
    studio          record any voices on demand
    truth           what only a synthetic corpus knows about its people
"""
