"""Networks: their layers, losses and weights, and how trained ones are asked. No training, no corpus.

    avatar          a drawn face as an avatar
    degraded        predictions for degraded copies of recordings
    extraction      features and landmarks of many files, in blocks
    face_decoder    a face feature to its canonical face
    face_encoder    a photograph to its face feature
    inference       features of clips and photographs; `Speech2Face` for a recording
    limits          where predictions usually lie, and their expected error
    linear_decoder  a face decoder by linear regression
    losses          the terms of section 3, and those they are compared with
    pretrained      networks that ship inside packages
    voice_encoder   a spectrogram to a face feature (Table 1)
    weights         safetensors files with a header
"""
