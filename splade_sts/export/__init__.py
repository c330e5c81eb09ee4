"""A model as one file for other engines: token ids and attention mask in, SPLADE vector out."""
