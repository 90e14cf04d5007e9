"""Do newly collected rows still look like the rows that a model was trained on?"""
