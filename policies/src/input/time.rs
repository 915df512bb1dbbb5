//! `input.time`: one moment, as clocks in the organisation's time zone show it.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Nanoseconds.
const MINUTE: i128 = 60 * 1_000_000_000;
/// Nanoseconds.
const HOUR: i128 = 60 * MINUTE;
/// Nanoseconds.
const DAY: i128 = 24 * HOUR;

/// A moment, with its local time where somebody asks for it.
#[derive(Debug)]
pub(crate) struct Moment {
    at: Timestamp,
    local: Option<Zoned>,
}

impl Moment {
    /// A moment. `zone`: its local time will be asked for. An unknown zone is UTC: the API refuses such names, so that it can
    /// only come from a time zone database that lost one.
    pub(crate) fn new(at: Timestamp, zone: Option<&str>) -> Self {
        let local = zone.map(|name| at.to_zoned(TimeZone::get(name).unwrap_or(TimeZone::UTC)));
        Self { at, local }
    }

    /// Nanoseconds since 1970.
    pub(crate) fn now_ns(&self) -> i128 {
        self.at.as_nanosecond()
    }

    /// The minute's first nanosecond.
    pub(crate) fn minute_ns(&self) -> i128 {
        self.now_ns().div_euclid(MINUTE) * MINUTE
    }

    /// The hour's first nanosecond, by UTC.
    pub(crate) fn hour_ns(&self) -> i128 {
        self.now_ns().div_euclid(HOUR) * HOUR
    }

    /// The day's first nanosecond, by the time zone.
    pub(crate) fn day_ns(&self) -> i128 {
        let start = self.local.as_ref().and_then(|local| local.start_of_day().ok());
        start.map_or_else(|| self.now_ns().div_euclid(DAY) * DAY, |start| start.timestamp().as_nanosecond())
    }

    /// `2026-11-21T15:12:54.123456789+01:00`.
    pub(crate) fn rfc3339(&self) -> String {
        self.local.as_ref().map_or_else(
            || self.at.to_string(),
            |local| format!("{}{}", local.datetime(), local.strftime("%:z")),
        )
    }

    /// `2026-11-21`.
    pub(crate) fn date(&self) -> String {
        self.local().date().to_string()
    }

    /// `2026`.
    pub(crate) fn year(&self) -> i64 {
        i64::from(self.local().year())
    }

    /// 1 to 12.
    pub(crate) fn month(&self) -> i64 {
        i64::from(self.local().month())
    }

    /// 1 to 31.
    pub(crate) fn day(&self) -> i64 {
        i64::from(self.local().day())
    }

    /// 0 to 23.
    pub(crate) fn hour(&self) -> i64 {
        i64::from(self.local().hour())
    }

    /// 0 to 59.
    pub(crate) fn minute(&self) -> i64 {
        i64::from(self.local().minute())
    }

    /// The English name.
    pub(crate) fn weekday(&self) -> &'static str {
        match self.local().weekday() {
            Weekday::Monday => "Monday",
            Weekday::Tuesday => "Tuesday",
            Weekday::Wednesday => "Wednesday",
            Weekday::Thursday => "Thursday",
            Weekday::Friday => "Friday",
            Weekday::Saturday => "Saturday",
            Weekday::Sunday => "Sunday",
        }
    }

    /// What the clock on the wall shows.
    fn local(&self) -> jiff::civil::DateTime {
        self.local.as_ref().map_or_else(|| TimeZone::UTC.to_datetime(self.at), Zoned::datetime)
    }
}
