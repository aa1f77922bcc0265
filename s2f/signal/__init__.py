"""Sound and pictures as arrays: what can be read, measured or changed in them without a model or a corpus.

    audio              read sound; the compressed spectrogram
    canonical          align photographs; the canonical face of a person
    colour             skin tone as two angles
    degradation        what microphones, rooms, telephones and codecs do to a recording
    images             read and write pictures
    landmark_detector  a linear detector of the 68 landmarks
    landmarks          craniofacial measures from 68 landmarks
    media              sound and frames of compressed files and videos
    numpy_warping      the warp of images without torch
    resynthesis        a real recording with another pitch or other formants
    spectrograms       the compressed spectrograms of batches, in torch
    speech             the speech in a recording, at one level
    voice_activity     where in a recording somebody speaks
    voice_statistics   pitch, formants, noise and spectrum of a voice
    warping            warp images by landmarks
"""
