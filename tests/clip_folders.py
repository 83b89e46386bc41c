"""Folders of files that stand for clips, and lists of them."""


def make(folder, *clip_ids):
    """Files that stand for clips: finding them reads bytes, not pictures."""
    for clip_id in clip_ids:
        path = folder / clip_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip_id.encode())
    return folder


def ids(clips):
    return [clip.id for clip in clips]


def index(folder, text):
    (folder / "clips.csv").write_bytes(text.encode())
