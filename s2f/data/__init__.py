"""Corpora on disk, and what is drawn from them: the same for synthetic and for real people.

    batches        rows, crops and variations by seed and step
    checksums      digests of the files of a corpus, written and checked
    corpus         the one door to clips, photographs, faces and labels
    null_corpus    a corpus whose voices say nothing of faces
    preparation    sounds and pictures made ready in blocks, by processes or a cluster
    public_trials  lists that name voices by ids and faces by names
    shards         many clips in a few files
    sources        where a corpus comes from
    tables         the schema of each table, checked on write and read
    trials         lists of trials: drawn, written, read
"""
