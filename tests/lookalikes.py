"""Small archives of the same form as UCF-50's, UCF-101's and HMDB-51's, and data sets that are known by them."""

import io
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from film import numbered_picture, write_video
from rar import rar

from actionrec.data.datasets import hmdb51, ucf50, ucf101
from actionrec.data.published import Archive

# The quirks of the real ones: the file's spelling is not the folder's.
UCF50_FILES = {"Billiards": "Billards", "PullUps": "Pullup", "YoYo": "YoYo"}
UCF101_FILES = {"HandstandPushups": "HandStandPushups", "Archery": "Archery", "YoYo": "YoYo"}
HMDB51_SOURCES = ("April_09", "Best_Of_Films_(1)", "#437_How_To")
HMDB51_CLASSES = ("brush_hair", "cartwheel", "sword_exercise")
GROUPS = 6


@cache
def clip_bytes(tmp: Path, number: int) -> bytes:
    """A real AVI of 6 frames, of which no two are alike."""
    return write_video(tmp / f"{number}.avi", [numbered_picture(10 * number + frame) for frame in range(6)]).read_bytes()


def ucf_clips(names, tmp):
    """Clip id -> contents: GROUPS groups of one clip, and a second clip of the first group, a class."""
    places = [(folder, file, group, 1) for folder, file in names.items() for group in range(1, GROUPS + 1)]
    places += [(folder, file, 1, 2) for folder, file in names.items()]
    return {
        f"{folder}/v_{file}_g{group:02d}_c{clip:02d}.avi": clip_bytes(tmp, number)
        for number, (folder, file, group, clip) in enumerate(places)
    }


def hmdb_clips(tmp):
    places = [(name, source, part) for name in HMDB51_CLASSES for source in HMDB51_SOURCES for part in range(2)]
    return {
        f"{name}/{source}_{name}_u_nm_np1_ba_goo_{part}.avi": clip_bytes(tmp, number)
        for number, (name, source, part) in enumerate(places)
    }


def ucf50_archive(tmp):
    return rar({f"UCF50/{clip}": contents for clip, contents in ucf_clips(UCF50_FILES, tmp).items()})


def ucf101_archive(tmp):
    return rar({f"UCF-101/{clip}": contents for clip, contents in ucf_clips(UCF101_FILES, tmp).items()})


def ucf101_lists(clips):
    """Three pairs of lists with Windows's line ends, as some copies have them; list n tests groups n and n + 3."""
    classes = sorted({clip.split("/")[0] for clip in clips})
    texts = {"classInd.txt": "".join(f"{number} {name}\r\n" for number, name in enumerate(classes, start=1))}
    for fold in (1, 2, 3):
        tested = [clip for clip in sorted(clips) if int(clip.split("_g")[1][:2]) % 3 == fold % 3]
        trained = [clip for clip in sorted(clips) if clip not in tested]
        texts[f"testlist0{fold}.txt"] = "".join(f"{clip}\r\n" for clip in tested)
        texts[f"trainlist0{fold}.txt"] = "".join(f"{clip} {classes.index(clip.split('/')[0]) + 1}\r\n" for clip in trained)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in texts.items():
            archive.writestr(f"ucfTrainTestlist/{name}", text)
    return packed.getvalue()


def hmdb51_archive(tmp):
    """An archive a class within the archive."""
    clips = hmdb_clips(tmp)
    inner = {
        name: rar({clip: contents for clip, contents in clips.items() if clip.startswith(f"{name}/")}) for name in HMDB51_CLASSES
    }
    return rar({f"{name}.rar": contents for name, contents in inner.items()})


def hmdb51_lists(clips):
    """List n tests the n-th source; the second clip of each of its sources is for nothing."""
    texts = {}
    for fold in (1, 2, 3):
        for name in HMDB51_CLASSES:
            lines = []
            for clip in sorted(clip.split("/")[1] for clip in clips if clip.startswith(f"{name}/")):
                tests = clip.startswith(HMDB51_SOURCES[fold - 1])
                lines.append(f"{clip} {(0 if clip.endswith('_1.avi') else 2) if tests else 1} \n")
            texts[f"testTrainMulti_7030_splits/{name}_test_split{fold}.txt"] = "".join(lines).encode()
    return rar(texts)


def publish(host, tmp):
    """Put all archives on the host; return the sources as they are known there, by name."""
    names = set(ucf_clips(UCF101_FILES, tmp))
    host.files |= {
        "UCF50.rar": ucf50_archive(tmp),
        "UCF101.rar": ucf101_archive(tmp),
        "UCF101TrainTestSplits-RecognitionTask.zip": ucf101_lists(names),
        "hmdb51_org.rar": hmdb51_archive(tmp),
        "test_train_splits.rar": hmdb51_lists(set(hmdb_clips(tmp))),
    }

    def here(archive):
        return archive and Archive(f"{host.url}/{archive.file}", len(host.files[archive.file]))

    def at_host(source, **known):
        return replace(source, clips=here(source.clips), lists=here(source.lists), **known)

    ucf = len(UCF50_FILES) * (GROUPS + 1)
    return {
        "ucf50": at_host(ucf50.SOURCE, classes=3, total_clips=ucf, class_clips=dict.fromkeys(UCF50_FILES, GROUPS + 1)),
        "ucf101": at_host(ucf101.SOURCE, classes=3, total_clips=ucf),
        "hmdb51": at_host(hmdb51.SOURCE, classes=3, total_clips=2 * len(HMDB51_CLASSES) * len(HMDB51_SOURCES)),
    }
