//! Calendar windows of budgets, in the organisation's time zone.
//!
//! For every zone and kind of window: each moment lies in exactly one window, and each window ends where the next begins.
//! - Minutes and hours are those of the local clock. A change of the clock ends the window it falls into, so the hour that is
//!   repeated when daylight saving ends is two windows, and with a change of half an hour (Lord Howe) one of them is short.
//! - A day, week or month begins when the local calendar reaches its first date for the first time, also where midnight is
//!   skipped, and also where the clock is put back over midnight: a window that has ended does not begin again. A date that a zone
//!   skipped (Samoa, 2011-12-30) is no window.

use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneTransition};
use jiff::{Span, Timestamp, ToSpan};

use crate::governance::QuotaWindow;

/// How often a zone may have put its clock back over the same midnight before we give up looking for the window. Real zones: once.
const MAX_REPEATED_STARTS: usize = 4;

/// The window that holds this moment: from its start to just before its end, which is the next one's start.
pub fn window_bounds(window: QuotaWindow, zone: &TimeZone, at: Timestamp) -> (Timestamp, Timestamp) {
    match window {
        QuotaWindow::Minute => clock_window(60, zone, at),
        QuotaWindow::Hour => clock_window(3_600, zone, at),
        QuotaWindow::Day | QuotaWindow::Week | QuotaWindow::Month => calendar_window(window, zone, at),
    }
}

/// The zone of this IANA name; UTC when it is not known.
pub fn time_zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

fn clock_window(seconds: i64, zone: &TimeZone, at: Timestamp) -> (Timestamp, Timestamp) {
    let offset = i64::from(zone.to_offset(at).seconds());
    let local = floor_second(at).saturating_add(offset);
    let start = local.div_euclid(seconds).saturating_mul(seconds).saturating_sub(offset);
    let start = Timestamp::from_second(start).unwrap_or(Timestamp::MIN);
    let end = start.checked_add(seconds.seconds()).unwrap_or(Timestamp::MAX);
    let just_after = at.checked_add(1.nanosecond()).unwrap_or(at);
    let cut_before = zone
        .preceding(just_after)
        .take_while(|change| change.timestamp() > start)
        .find(|change| moves_the_clock(zone, change));
    let cut_after = zone
        .following(at)
        .take_while(|change| change.timestamp() < end)
        .find(|change| moves_the_clock(zone, change));
    (
        cut_before.map_or(start, |change| change.timestamp()),
        cut_after.map_or(end, |change| change.timestamp()),
    )
}

/// Some transitions only change a zone's abbreviation.
fn moves_the_clock(zone: &TimeZone, change: &TimeZoneTransition<'_>) -> bool {
    let before = change.timestamp().checked_sub(1.nanosecond());
    before.is_ok_and(|before| zone.to_offset(before) != change.offset())
}

fn calendar_window(window: QuotaWindow, zone: &TimeZone, at: Timestamp) -> (Timestamp, Timestamp) {
    let mut first = first_date(window, zone.to_datetime(at).date());
    for _ in 0..MAX_REPEATED_STARTS {
        let Ok(next) = first.checked_add(length(window)) else { break };
        let end = first_instant(zone, next);
        if at < end {
            return (first_instant(zone, first), end);
        }
        first = next; // the clock was put back over this midnight: the next window has begun already
    }
    (first_instant(zone, first), Timestamp::MAX)
}

fn first_date(window: QuotaWindow, date: Date) -> Date {
    match window {
        QuotaWindow::Month => date.first_of_month(),
        QuotaWindow::Week => {
            let since_monday = i64::from(date.weekday().to_monday_zero_offset());
            date.checked_sub(since_monday.days()).unwrap_or(Date::MIN)
        }
        QuotaWindow::Minute | QuotaWindow::Hour | QuotaWindow::Day => date,
    }
}

fn length(window: QuotaWindow) -> Span {
    match window {
        QuotaWindow::Month => 1.month(),
        QuotaWindow::Week => 7.days(),
        QuotaWindow::Minute | QuotaWindow::Hour | QuotaWindow::Day => 1.day(),
    }
}

/// The first moment at which the local calendar shows this date or a later one.
fn first_instant(zone: &TimeZone, date: Date) -> Timestamp {
    let midnight = date.at(0, 0, 0, 0);
    let outside = if date.year() < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let at_offset = |offset: Offset| offset.to_timestamp(midnight).unwrap_or(outside);
    match zone.to_ambiguous_timestamp(midnight).offset() {
        AmbiguousOffset::Unambiguous { offset } => at_offset(offset),
        AmbiguousOffset::Fold { before, .. } => at_offset(before),
        AmbiguousOffset::Gap { after, .. } => {
            // Midnight does not exist: the date begins with the change that skips it, which is the first one after this.
            let before_the_change = at_offset(after);
            zone.following(before_the_change).next().map_or(before_the_change, |change| change.timestamp())
        }
    }
}

/// The second that has begun; timestamps before 1970 count from there downwards.
fn floor_second(at: Timestamp) -> i64 {
    at.as_second().saturating_sub(i64::from(at.subsec_nanosecond() < 0))
}

#[cfg(test)]
mod tests;
