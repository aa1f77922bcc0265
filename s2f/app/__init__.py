"""What 00_explore is made of, in JupyterLab and as a web page: widgets, and sentences about what they show.

    page    choose a model and a voice, and see the face that goes with it
    pieces  pictures, sounds and sentences as widgets
    voice   a voice from the microphone or from a file, which stays in memory
"""
