"""Predict a video with an exported model: python onnx_example.py gru.onnx clip.mp4. Needs onnxruntime, OpenCV and NumPy alone."""

import json
import sys

import cv2
import numpy as np
import onnxruntime

model, video = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map
names, wanted, picture = (json.loads(about[key]) for key in ("class_names", "sampling", "preprocessing"))
size, capture, frames = picture["size"], cv2.VideoCapture(video), []
count = sum(1 for _ in iter(capture.grab, False))  # headers often count wrong
if not count:
    sys.exit(f"{video}: no frame can be decoded")
places = np.linspace(0, count - 1, wanted["count"], dtype=int).tolist()
capture = cv2.VideoCapture(video)
for place in range(count):
    capture.grab()
    if place in places:
        frame = capture.retrieve()[1]
        way = cv2.INTER_AREA if max(frame.shape[:2]) >= 2 * size else cv2.INTER_LINEAR
        frame = cv2.resize(frame, (size, size), interpolation=way)
        if picture["format"] == "jpeg":  # as the frames were stored that the model learned from
            options = [cv2.IMWRITE_JPEG_QUALITY, picture["quality"], cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]  # 4:4:4
            frame = cv2.imdecode(cv2.imencode(".jpg", frame, options)[1], cv2.IMREAD_COLOR)
        frames += [cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)] * places.count(place)
inputs = np.stack(frames).transpose(0, 3, 1, 2)[None]  # (1, T, 3, H, W), uint8
(probabilities,) = session.run(["probabilities"], {"frames": inputs})[0]
best = np.argsort(-probabilities, kind="stable")[:5]
lines = [f"{probabilities[place]:8.4f}  {names[place]}" for place in best]
if probabilities.max() < float(about["threshold"]):
    print(f"unsure, probably {names[best[0]]}")
print("\n".join(lines))
