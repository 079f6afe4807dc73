"""Pictures to tokens: the backbone's own vision tower and projector, in torch or in ONNX Runtime."""
