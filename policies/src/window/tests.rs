use proptest::prelude::*;

use super::*;

const WINDOWS: [QuotaWindow; 5] =
    [QuotaWindow::Minute, QuotaWindow::Hour, QuotaWindow::Day, QuotaWindow::Week, QuotaWindow::Month];

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn bounds(window: QuotaWindow, zone: &str, moment: &str) -> (String, String) {
    let zone = TimeZone::get(zone).unwrap();
    let (start, end) = window_bounds(window, &zone, at(moment));
    (start.to_string(), end.to_string())
}

/// Holds for one moment: it is in its window, every probe in the window agrees on it, and the neighbours touch it.
fn check_tiling(window: QuotaWindow, zone: &TimeZone, moment: Timestamp) -> Result<(), TestCaseError> {
    let (start, end) = window_bounds(window, zone, moment);
    prop_assert!(start <= moment && moment < end, "{moment} is not in {start}..{end}");
    let last = end.checked_sub(1.nanosecond()).unwrap();
    for probe in [start, last, start + (end.duration_since(start) / 2)] {
        prop_assert_eq!(window_bounds(window, zone, probe), (start, end), "at {}", probe);
    }
    let before = window_bounds(window, zone, start.checked_sub(1.nanosecond()).unwrap());
    prop_assert_eq!(before.1, start, "the window before does not end where this one starts");
    let after = window_bounds(window, zone, end);
    prop_assert_eq!(after.0, end, "the window after does not start where this one ends");
    Ok(())
}

fn zone_names() -> Vec<String> {
    jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect()
}

/// Zones whose every clock change is tried; of the others, one in five.
const ODD_ZONES: [&str; 8] = [
    "Africa/Casablanca",
    "America/Juneau",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Asia/Manila",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kwajalein",
];

#[test]
fn windows_tile_time_around_the_clock_changes_of_every_zone() {
    let names = zone_names();
    assert!(names.len() > 300, "only {} zones", names.len());
    for name in names {
        let zone = TimeZone::get(&name).unwrap();
        let step = if ODD_ZONES.contains(&&*name) { 1 } else { 5 };
        for change in zone.following(at("1840-01-01T00:00:00Z")).step_by(step).take(40) {
            let change = change.timestamp();
            for seconds in [-90_000, -1_799, -1, 0, 1_800, 90_000] {
                let moment = change.checked_add(seconds.seconds()).unwrap();
                for window in WINDOWS {
                    if let Err(error) = check_tiling(window, &zone, moment) {
                        panic!("{name} {window:?} at {moment}: {error}");
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn windows_tile_time_at_any_moment_in_any_zone(
        pick in any::<prop::sample::Index>(),
        nanos in -4_000_000_000_000_000_000_i128..7_000_000_000_000_000_000,
    ) {
        let names = zone_names();
        let zone = TimeZone::get(pick.get(&names[..]).as_str()).unwrap();
        for window in WINDOWS {
            check_tiling(window, &zone, Timestamp::from_nanosecond(nanos).unwrap())?;
        }
    }
}

#[test]
fn the_repeated_hour_is_two_windows() {
    let first = bounds(QuotaWindow::Hour, "Europe/Berlin", "2026-10-25T00:30:00Z");
    let second = bounds(QuotaWindow::Hour, "Europe/Berlin", "2026-10-25T01:30:00Z");
    assert_eq!(first, ("2026-10-25T00:00:00Z".into(), "2026-10-25T01:00:00Z".into()));
    assert_eq!(second, ("2026-10-25T01:00:00Z".into(), "2026-10-25T02:00:00Z".into()));
}

#[test]
fn a_day_has_23_or_25_hours_when_the_clock_changes() {
    let spring = bounds(QuotaWindow::Day, "Europe/Berlin", "2026-03-29T12:00:00Z");
    assert_eq!(spring, ("2026-03-28T23:00:00Z".into(), "2026-03-29T22:00:00Z".into()));
    let autumn = bounds(QuotaWindow::Day, "Europe/Berlin", "2026-10-25T12:00:00Z");
    assert_eq!(autumn, ("2026-10-24T22:00:00Z".into(), "2026-10-25T23:00:00Z".into()));
}

#[test]
fn half_an_hour_of_daylight_saving_makes_one_short_hour() {
    // Lord Howe Island puts its clock from 02:00 (+11) back to 01:30 (+10:30).
    let short = bounds(QuotaWindow::Hour, "Australia/Lord_Howe", "2026-04-04T15:10:00Z");
    assert_eq!(short, ("2026-04-04T15:00:00Z".into(), "2026-04-04T15:30:00Z".into()));
    let next = bounds(QuotaWindow::Hour, "Australia/Lord_Howe", "2026-04-04T15:30:00Z");
    assert_eq!(next, ("2026-04-04T15:30:00Z".into(), "2026-04-04T16:30:00Z".into()));
}

#[test]
fn a_skipped_date_is_no_window() {
    // Samoa went from 2011-12-29 24:00 (-10) straight to 2011-12-31 00:00 (+14).
    let before = bounds(QuotaWindow::Day, "Pacific/Apia", "2011-12-30T09:59:59Z");
    assert_eq!(before, ("2011-12-29T10:00:00Z".into(), "2011-12-30T10:00:00Z".into()));
    let after = bounds(QuotaWindow::Day, "Pacific/Apia", "2011-12-30T10:00:00Z");
    assert_eq!(after, ("2011-12-30T10:00:00Z".into(), "2011-12-31T10:00:00Z".into()));
}

#[test]
fn hours_and_days_follow_quarter_hour_offsets() {
    let hour = bounds(QuotaWindow::Hour, "Asia/Kathmandu", "2026-06-01T12:20:00Z");
    assert_eq!(hour, ("2026-06-01T12:15:00Z".into(), "2026-06-01T13:15:00Z".into()));
    let day = bounds(QuotaWindow::Day, "Asia/Kathmandu", "2026-06-01T12:20:00Z");
    assert_eq!(day, ("2026-05-31T18:15:00Z".into(), "2026-06-01T18:15:00Z".into()));
}

#[test]
fn a_day_that_began_does_not_begin_again_when_the_clock_goes_back_over_midnight() {
    // St John's, 2006-10-29 00:01 -> 2006-10-28 23:01: the 29th began a minute before.
    let day = bounds(QuotaWindow::Day, "America/St_Johns", "2006-10-29T02:45:00Z");
    assert_eq!(day, ("2006-10-29T02:30:00Z".into(), "2006-10-30T03:30:00Z".into()));
}

#[test]
fn a_day_without_midnight_begins_with_the_change_that_skips_it() {
    // Toronto, 1919-03-30 23:30 -> 1919-03-31 00:30.
    let day = bounds(QuotaWindow::Day, "America/Toronto", "1919-03-31T12:00:00Z");
    assert_eq!(day.0, "1919-03-31T04:30:00Z");
}

#[test]
fn weeks_begin_on_monday_and_months_on_the_first() {
    let week = bounds(QuotaWindow::Week, "UTC", "2026-11-22T23:59:59Z");
    assert_eq!(week, ("2026-11-16T00:00:00Z".into(), "2026-11-23T00:00:00Z".into()));
    let month = bounds(QuotaWindow::Month, "America/New_York", "2026-11-30T23:59:59Z");
    assert_eq!(month, ("2026-11-01T04:00:00Z".into(), "2026-12-01T05:00:00Z".into()));
}

#[test]
fn the_ends_of_time_have_windows_too() {
    for name in ["UTC", "Pacific/Kiritimati", "America/New_York"] {
        for window in WINDOWS {
            let zone = TimeZone::get(name).unwrap();
            for moment in [Timestamp::MIN, Timestamp::MAX] {
                let (start, end) = window_bounds(window, &zone, moment);
                assert!(start <= moment && moment <= end);
            }
        }
    }
}

#[test]
fn an_unknown_zone_is_utc() {
    assert_eq!(time_zone("Mars/Olympus_Mons"), TimeZone::UTC);
    assert_ne!(time_zone("Europe/Berlin"), TimeZone::UTC);
}
