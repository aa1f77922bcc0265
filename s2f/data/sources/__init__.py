"""Where a corpus comes from: each module turns one kind of source into tables, sound and faces.

    avspeech          AVSpeech
    check             what there is of a corpus, what is missing and what is broken
    crema_d           CREMA-D
    folder            files on a user's disk
    mav_celeb         MAV-Celeb
    official          settings of corpora in their official layout, and which module reads them
    paper_scale       settings of the synthetic world in a study that has the stages of any corpus
    published         the samples that the authors published
    published_corpus  the published samples as a corpus
    synthetic         the synthetic world
    tree              the files below a folder, and the tables beside them
    voxceleb          VoxCeleb 1 and 2
"""
