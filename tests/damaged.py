"""Damaged files: what real ones hold, and how to damage one."""

import os

REENCODE = "Re-encode it: ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4"

# Of ../shared/data/broken: frames that the header claims, frames that decode, and the warning.
DECODABLE = {
    "av1.mkv": (125, 125, ""),
    "crop_left_8.mp4": (100, 100, ""),
    "damaged_burst.mp4": (49, 48, "1 packet damaged; 48 of 49 frames read"),
    "delayed_start.mp4": (24, 24, ""),
    "frame_count_lies_1093_for_860.avi": (1093, 860, ""),
    "frame_count_lies_1820_for_854.avi": (1820, 854, ""),
    "frame_count_off_by_one.avi": (465, 464, ""),
    "h264_10bit.mp4": (30, 30, ""),
    "interlaced_pva.mpg": (34, 9, "2 packets damaged; 9 of 26 frames read"),
    "late_video_4096_audio_packets.mkv": (3751, 25, ""),
    "mirrored.mov": (25, 25, ""),
    "no_timescale.mp4": (182, 170, "40 packets damaged; 170 of 182 frames read"),
    "one_frame.mp4": (1, 1, ""),
    "primaries_p3.mp4": (40, 40, ""),
    "rotated_0.mov": (3, 3, ""),
    "rotated_90.mov": (3, 3, ""),
    "six_frames.mp4": (6, 6, ""),
    "timelapse_10s_a_frame.mp4": (40, 40, ""),
    "truncated_h264.mp4": (50, 49, "2 packets damaged; 49 of 50 frames read"),
    "two_video_second_default.mkv": (75, 75, ""),
    "unordered_frames.mov": (4, 4, ""),
    "variable_frame_rate.mp4": (160, 160, ""),
}
UNDECODABLE = {
    "audio_only.mp4": "no video stream; only audio. Use a file with video",
    "empty.avi": "the file is empty (0 bytes). Copy or download it again",
    "empty_moov.mp4": "no video stream; the file has no streams. Use a file with video",
    "encrypted.mp4": "the video is encrypted (codec h264; the header claims 10 frames, 10 packets were read). "
    "Export it without copy protection (DRM)",
    "header_without_frames.mp4": "the file has a header and no video data (codec h264; the header claims 5544 frames, 0 packets "
    "were read). It may be cut off: copy or download it again",
    "matrix_ycgco.mp4": "colours cannot be converted; got pixel format yuv420p, colour matrix 8 (Operation not supported). "
    + REENCODE,
    "noise.mp4": "not a video file that FFmpeg can open (Invalid data found when processing input). Copy or download it again",
    "unopenable.mp4": "not a video file that FFmpeg can open (Invalid data found when processing input). Copy or download it again",
}


def flip(file, place=3, *, keep_time=False):
    """Change a byte of a file in place, as a failing disk does; DVC's files are read-only."""
    times, mode = file.stat(), file.stat().st_mode
    file.chmod(0o644)
    with file.open("r+b") as stream:
        stream.seek(place)
        byte = stream.read(1)
        stream.seek(place)
        stream.write(bytes([byte[0] ^ 1]))
    file.chmod(mode)
    if keep_time:
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
