"""The study of the published samples: outputs of the original model for real people.

    apparent_traits  traits that independent classifiers read off drawn faces
    assistants       what was drawn for Siri, Alexa and the Google assistant
    counterfactuals  what the predicted face does where a recording is changed
    judges           judges of drawn faces that no system learned from
    original         how alike, how right and how varied the drawn faces are
    settings         the sections of the study's params.yaml
"""
