"""UCF-101: 101 actions in videos from YouTube, with three official splits (Soomro, Zamir and Shah 2012, arXiv 1212.0402)."""

from functools import partial

from actionrec.data.published import Archive, Published, fetch_published

SOURCE = Published(
    title="UCF-101",
    clips=Archive("https://www.crcv.ucf.edu/data/UCF101/UCF101.rar"),
    page="https://www.crcv.ucf.edu/data/UCF101.php",
    classes=101,
    total_clips=13_320,
    lists=Archive("https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip"),
    lists_folder="ucfTrainTestlist",
)

fetch = partial(fetch_published, SOURCE)
