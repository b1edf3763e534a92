"""TensorFlow Lite models on LiteRT."""
