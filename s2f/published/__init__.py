"""Measurements of what the published samples hold: outputs of the original model for real people.

    apparent_traits  traits that independent judges read off drawn faces
    original         how alike, how right and how varied the drawn faces are
"""
