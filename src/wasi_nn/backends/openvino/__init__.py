"""OpenVINO IR, ONNX, TensorFlow and TensorFlow Lite models on OpenVINO."""
