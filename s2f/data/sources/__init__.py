"""Where a corpus comes from: each module turns one kind of source into tables, sound and faces.

    folder            files on a user's disk
    published         the samples that the authors published
    published_corpus  the published samples as a corpus
    synthetic         the synthetic world
"""
