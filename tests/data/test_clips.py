import pytest
from clip_folders import index, make

from actionrec.data.clip_search import find_clips
from actionrec.data.clips import cluster_ids, group_of, read_clips, write_clips

HMDB = "brush_hair/{}_brush_hair_u_nm_np1_ba_goo_0.avi"
PERSON = "Run/person12_take3.mp4"
UCF_NAMED = ("Jump/v_Jump_g07_c01.avi", "Run/v_Run_g07_c01.avi", "Run/v_Run_g08_c01.avi")


@pytest.mark.parametrize(
    ("clip_id", "pattern", "group"),
    [
        ("Billiards/v_Billards_g01_c01.avi", None, "g01"),
        ("Jump/v_Jump_G3_C1.AVI", None, "g03"),
        ("Jump/v_Jump_g007_c1.avi", None, "g07"),
        ("Jump/v_Jump_g123_c1.avi", None, "g123"),
        ("Jump/holiday.mp4", None, "Jump/holiday.mp4"),
        ("Jump/v_Jump_g01.avi", None, "Jump/v_Jump_g01.avi"),
        ("Odd_g05_class/one.avi", None, "Odd_g05_class/one.avi"),  # the class's folder is not part of the name
        (HMDB.format("April_09"), None, "April_09"),
        (HMDB.format("#437_How_To_Ride_A_Bike"), None, "#437_How_To_Ride_A_Bike"),
        ("brush_hair/Film(1)_other_class_h_nm_np1_fr_bad_3.avi", None, "Film(1)_other_class"),
        (PERSON, r"person(\d+)", "12"),
        (PERSON, r"person\d+", "person12"),
        (PERSON, r"(camera)?-x", PERSON),
        (PERSON, r"^(\w+)/", "Run"),
    ],
)
def test_the_group_is_read_from_the_clip_s_name(clip_id, pattern, group):
    assert group_of(clip_id, clip_id.split("/")[0], pattern) == group


@pytest.mark.parametrize(
    ("names", "pattern", "expected"),
    [
        (["Jump/v_Jump_g1_c1.avi", "Jump/v_Jump_g1_c2.avi", "Jump/v_Jump_g2_c1.avi", "Run/v_Run_g1_c1.avi"], None, [0, 0, 1, 2]),
        (["jump/Film_jump_f_cm_np1_ba_goo_0.avi", "run/Film_run_f_cm_np1_ba_goo_0.avi"], None, [0, 0]),
        (["Jump/anna-1.mp4", "Jump/ben-1.mp4", "Run/anna-1.mp4", "Run/carl.mp4"], r"(\w+)-", [1, 2, 1, 0]),
        (UCF_NAMED, None, [0, 1, 2]),
        (UCF_NAMED, r"_g(\d+)_", [0, 0, 1]),  # in UCF's names too, a pattern's groups are the same in all classes
        (UCF_NAMED, r"_(g\d+)_", [0, 0, 1]),
    ],
)
def test_only_ucf_groups_are_numbered_within_each_class(tmp_path, names, pattern, expected):
    make(tmp_path, *names)
    assert cluster_ids(find_clips(tmp_path, pattern)).tolist() == expected


def test_groups_that_a_list_names_span_classes_also_with_ucf_names(tmp_path):
    make(tmp_path, *UCF_NAMED)
    rows = zip(UCF_NAMED, ("Jump", "Run", "Run"), ("g07", "", "g08"), strict=True)  # the second has its group from its name
    index(tmp_path, "clip,label,group\n" + "".join(f"{','.join(row)}\n" for row in rows))
    write_clips(tmp_path / "written.csv", find_clips(tmp_path))
    clips = read_clips(tmp_path / "written.csv")
    assert [clip.group for clip in clips] == ["g07 (all classes)", "g07 (all classes)", "g08 (all classes)"]
    assert cluster_ids(clips).tolist() == [0, 0, 1]
