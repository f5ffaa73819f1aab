from jetcli.cli.rate import Rate


def test_nothing_is_said_before_two_reports():
    rate = Rate()
    rate.report(1.0, 500)
    assert rate.bytes_per_s is None
    assert rate.eta_s(1000) is None


def test_an_offset_counts_as_progress_but_not_as_speed():
    rate = Rate()
    rate.report(0.0, 1_000_000)
    rate.report(2.0, 1_000_200)
    assert rate.bytes_per_s == 100
    assert rate.eta_s(1_000_500) == 3.0


def test_what_is_long_past_is_forgotten():
    rate = Rate()
    rate.report(0.0, 0)
    rate.report(100.0, 10)
    rate.report(101.0, 110)
    assert rate.bytes_per_s == 100


def test_two_reports_at_one_time_divide_by_nothing():
    rate = Rate()
    rate.report(1.0, 0)
    rate.report(1.0, 100)
    assert rate.bytes_per_s is None


def test_a_stream_of_unknown_length_has_no_end_in_sight():
    rate = Rate()
    rate.report(0.0, 0)
    rate.report(1.0, 100)
    assert rate.eta_s(None) is None
