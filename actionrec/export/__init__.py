"""Export trained models to ONNX and import the study's checkpoints."""
