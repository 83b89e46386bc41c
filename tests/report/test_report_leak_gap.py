from actionrec.experiments.leak_gap import gap
from actionrec.report.leak_gap import text


def test_the_table_has_a_row_a_model():
    same = {f"{place}.avi": (place % 3 > 0, place // 2) for place in range(30)}
    lines = text([gap("gru", same, same), gap("lstm", same, same)]).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:4]] == ["gru", "lstm"]
    assert "30 test clips under the random split" in lines[-1]
