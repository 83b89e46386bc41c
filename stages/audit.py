"""Find test clips that leak into training (siblings, copies, near-duplicates): metrics/audit.json. Reads no parameters."""

import logging
from dataclasses import asdict

from actionrec.core import entry, paths
from actionrec.data.clips import read_clips
from actionrec.data.splits import read_split
from actionrec.evaluation import leak_audit
from actionrec.features.feature_store import read_features
from actionrec.io import files

logger = logging.getLogger(__name__)


def main() -> None:
    subsets = read_split(paths.SPLIT)
    clips = [clip for clip in read_clips(paths.CLIPS) if clip.id in subsets]
    audit = leak_audit.audit(clips, subsets, read_features(paths.FEATURES))
    files.write_json(paths.AUDIT, asdict(audit))
    logger.info("%d test clips: %d with a sibling in training, %d with a copy", audit.test_clips, audit.siblings, audit.copied)


if __name__ == "__main__":
    entry.run(main)
