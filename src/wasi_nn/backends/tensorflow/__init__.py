"""SavedModels and frozen graphs on TensorFlow."""
