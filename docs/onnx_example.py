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
size, capture, frames = picture["size"], cv2.VideoCapture(video), {}
count = sum(1 for _ in iter(capture.grab, False))  # headers often count wrong
if not count:
    sys.exit(f"{video}: no frame can be decoded")
snippet, capture = wanted.get("snippet", {"length": 1, "rate": None}), cv2.VideoCapture(video)
step = (capture.get(cv2.CAP_PROP_FPS) or 25) / snippet["rate"] if snippet["rate"] else 1
offsets = (np.arange(snippet["length"]) * step + 0.499).astype(int)  # of a snippet's frames
starts = np.linspace(0, max(count - 1 - offsets[-1], 0), wanted["count"], dtype=int)
places = np.minimum(starts[:, None] + offsets, count - 1)
for place in range(count):
    capture.grab()
    if place in places:
        frame = capture.retrieve()[1]
        height, width = frame.shape[:2]
        fit = picture.get("fit", [size, size])  # height and width before the centre is cut out
        if fit == "crop":
            short = round(size * 8 / 7)
            long = int(short * max(height, width) / min(height, width))
            fit = [short, long] if height <= width else [long, short]
        way = cv2.INTER_AREA if max(height / fit[0], width / fit[1]) >= 2 else cv2.INTER_LINEAR
        top, left = (round((side - size) / 2) for side in fit)
        frame = cv2.resize(frame, fit[::-1], interpolation=way)[top : top + size, left : left + size]
        if picture["format"] == "jpeg":  # as the frames were stored that the model learned from
            options = [cv2.IMWRITE_JPEG_QUALITY, picture["quality"], cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]  # 4:4:4
            frame = cv2.imdecode(cv2.imencode(".jpg", frame, options)[1], cv2.IMREAD_COLOR)
        frames[place] = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)
steps = places[:, 0] if snippet["length"] == 1 else places
inputs = np.stack([frames[place] for place in steps.ravel()]).reshape(1, *steps.shape, 3, size, size)  # (1, T, 3, H, W), uint8
(probabilities,) = session.run(["probabilities"], {"frames": inputs})[0]
best = np.argsort(-probabilities, kind="stable")[:5]
lines = [f"{probabilities[place]:8.4f}  {names[place]}" for place in best]
if probabilities.max() < float(about["threshold"]):
    print(f"not sure: {names[best[0]]}")
print("\n".join(lines))
