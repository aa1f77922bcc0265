"""Networks: their layers, losses and weights, and how trained ones are asked. No training, no corpus.

    arrays          safetensors files of arrays, without torch
    avatar          a drawn face as an avatar
    avatars         avatars of many faces as tables
    degraded        predictions for degraded copies of recordings
    drawing_reader  what networks read in a drawing, with gradients
    exported        networks of ONNX files, without torch
    exporting       networks as ONNX files
    extraction      features and landmarks of many files, in blocks
    face_decoder    a face feature to its canonical face
    face_encoder    a photograph to its face feature
    fused           training the voice encoder with few passes over the memory of a GPU
    front_ends      speech to embeddings, without torch
    inference       features of clips and photographs of whole corpora
    limits          where predictions usually lie, and their expected error
    linear_decoder  a face decoder by linear maps, which draws with NumPy alone
    losses          the terms of section 3, and those they are compared with
    pretrained      networks that ship inside packages
    readers         age, sex and skin tone of people with such a voice
    sface           a second recognition network, as a judge
    speech2face     from a recording to a face, by either kind of model, without torch
    spread          the distribution of faces given a voice
    vgg_face        VGG-Face's published files, checked and made the one that a study names
    voice_encoder   a spectrogram to a face feature (Table 1)
    weights         safetensors files with a header
"""
