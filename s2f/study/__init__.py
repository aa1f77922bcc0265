"""What a study is made of: its places and settings, and notebooks as stages of a chain. Knows nothing of speech or
faces.

    blocks        work on a table in blocks, which an interruption keeps
    code          which library code a notebook or a function reaches, and its digest
    config        a checked model for each section of params.yaml
    corpora       settings of the stages that only studies of real corpora have
    notebook      extract notebooks, run one as a stage, make its page
    numbers       NaN and infinity are refused by name
    pages         the pages of executed notebooks, and their index
    paths         the files of a study, atomic writing, `UserError`
    precision     bfloat16 where the hardware has it
    provenance    the commit, the machine and the versions that results were made by
    repeats       the training once more from other seeds, with the notebooks after it
    rules         settings compared across the sections of params.yaml
    scheduler     run the stages of a study side by side
    surroundings  the environment of a stage, whatever the shell has set
"""
