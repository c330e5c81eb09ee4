"""Fine-tuning and evaluation of SPLADE sparse encoders on semantic textual similarity data."""
