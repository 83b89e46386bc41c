"""Look for test clips that training gives away: siblings, copies, near-duplicates: metrics/audit.json. Reads no parameters."""

import logging
from dataclasses import asdict

from actionrec import audit, entry, files, paths
from actionrec.clips import read_clips
from actionrec.features import read_features
from actionrec.splits import read_split

logger = logging.getLogger(__name__)


def main() -> None:
    subsets = read_split(paths.SPLIT)
    clips = [clip for clip in read_clips(paths.CLIPS) if clip.id in subsets]
    found = audit.audit(clips, subsets, read_features(paths.FEATURES))
    files.write_json(paths.AUDIT, asdict(found))
    logger.info("%d test clips: %d with a sibling in training, %d copied there", found.test_clips, found.siblings, found.copied)


if __name__ == "__main__":
    entry.run(main)
