from rls.runtime import progress
from rls.runtime.progress import Progress, format_seconds


def test_seconds_read_well():
    assert format_seconds(12.4) == "12 s"
    assert format_seconds(200) == "3 min 20 s"
    assert format_seconds(5 * 3600 + 600) == "5 h 10 min"
    assert format_seconds(float("inf")) == "?"


def test_a_line_has_percent_rate_and_time_left(capsys, monkeypatch):
    clock = iter([0.0, 20.0, 20.0, 21.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    bar = Progress(100, "super_resolve", "img", done=10)
    bar.advance(40, "loss 0.1")
    assert capsys.readouterr().out == (
        "super_resolve:  50 % (50/100 img), 2 img/s, 25 s left, loss 0.1\n"
    )
