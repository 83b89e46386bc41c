"""HMDB-51: 51 actions in films and videos from the web, with three official splits (Kuehne et al. 2011, ICCV).

Its archive contains one archive per class.
"""

from functools import partial

from actionrec.data.published import Archive, Published, fetch_published

_HOST = "http://serre-lab.clps.brown.edu/wp-content/uploads/2013/10"

SOURCE = Published(
    title="HMDB-51",
    clips=Archive(f"{_HOST}/hmdb51_org.rar"),
    page="https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/",
    classes=51,
    total_clips=6_766,
    lists=Archive(f"{_HOST}/test_train_splits.rar"),
    lists_folder="testTrainMulti_7030_splits",
)

fetch = partial(fetch_published, SOURCE)
