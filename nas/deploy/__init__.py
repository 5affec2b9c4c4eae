"""From weights to what is deployed: ONNX models, TVM libraries, and the manifest that holds them together."""
