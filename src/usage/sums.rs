//! Sums over time.

use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::{SignedDuration, Timestamp};
use mindweave_metering::NanoUsd;
use serde::{Deserialize, Serialize};

use super::projects::ProjectNames;
use super::{csv, filters};
use crate::cli::{GroupBy, Interval, Usage};
use crate::client::Client;
use crate::table::{Align, Table, count, dollars};

/// How far back sums go unless told otherwise.
const DEFAULT_SPAN: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Up to this long, and this recently, the time asked for is covered by whole minutes.
const MINUTES_UP_TO: SignedDuration = SignedDuration::from_hours(6);
const MINUTES_SINCE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Up to this long, and this recently, it is covered by whole hours; beyond, by whole days.
const HOURS_UP_TO: SignedDuration = SignedDuration::from_hours(60 * 24);
const HOURS_SINCE: SignedDuration = SignedDuration::from_hours(300 * 24);

/// The figures of a group of calls, as the API names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sums {
    requests: u64,
    errors: u64,
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_5m_tokens: u64,
    cache_write_1h_tokens: u64,
    web_search_requests: u64,
    cost_nano_usd: NanoUsd,
    unknown_cost_events: u64,
    estimated_events: u64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        let sum = |a: &mut u64, b: u64| *a = a.saturating_add(b);
        sum(&mut self.requests, other.requests);
        sum(&mut self.errors, other.errors);
        sum(&mut self.input_tokens, other.input_tokens);
        sum(&mut self.output_tokens, other.output_tokens);
        sum(&mut self.cache_read_tokens, other.cache_read_tokens);
        sum(&mut self.cache_write_5m_tokens, other.cache_write_5m_tokens);
        sum(&mut self.cache_write_1h_tokens, other.cache_write_1h_tokens);
        sum(&mut self.web_search_requests, other.web_search_requests);
        sum(&mut self.unknown_cost_events, other.unknown_cost_events);
        sum(&mut self.estimated_events, other.estimated_events);
        self.cost_nano_usd = NanoUsd(self.cost_nano_usd.0.saturating_add(other.cost_nano_usd.0));
    }
}

/// One row: a bucket of time where an interval was asked for, and a value for each thing summed by.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bucket: Option<Timestamp>,
    #[serde(flatten)]
    sums: Sums,
    /// The values summed by, and figures that only the API tells.
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

impl Row {
    fn value(&self, field: &str) -> &str {
        self.rest.get(field).and_then(serde_json::Value::as_str).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Answer {
    from: Timestamp,
    to: Timestamp,
    data: Vec<Row>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    from: Timestamp,
    to: Timestamp,
    group_by: Vec<&'static str>,
    data: Vec<Line<'a>>,
    total: Line<'a>,
}

/// Sums with what they are of.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<Timestamp>,
    #[serde(flatten)]
    keys: BTreeMap<&'static str, &'a str>,
    #[serde(flatten)]
    sums: &'a Sums,
    /// The cost as a decimal, for programs without 64-bit integers.
    cost_usd: String,
}

impl<'a> Line<'a> {
    fn new(bucket: Option<Timestamp>, keys: BTreeMap<&'static str, &'a str>, sums: &'a Sums) -> Self {
        Self { bucket, keys, sums, cost_usd: sums.cost_nano_usd.to_string() }
    }
}

/// A row's identity: its bucket, then its values in the order of the columns.
type Key = (Option<Timestamp>, Vec<String>);

/// Sums that were asked for.
struct Answered {
    from: Timestamp,
    to: Timestamp,
    group_by: Vec<GroupBy>,
    rows: BTreeMap<Key, Sums>,
    total: Sums,
}

/// Prints the sums that the options ask for.
pub(super) fn print(options: &Usage, client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let answered = ask(options, client, now)?;
    if options.json {
        return Ok(answered.json(out)?);
    }
    let names = ProjectNames::load(client)?;
    if options.csv { Ok(answered.csv(&names, out)?) } else { Ok(answered.table(&names, out)?) }
}

fn ask(options: &Usage, client: &Client, now: Timestamp) -> anyhow::Result<Answered> {
    let group_by = if options.group_by.is_empty() {
        vec![GroupBy::Project, GroupBy::Model]
    } else {
        options.group_by.clone()
    };
    let to = options.to.unwrap_or(now);
    let from = options.from.map_or_else(|| to.checked_sub(DEFAULT_SPAN), Ok)?;
    let mut query = filters(options, client)?;
    let fields: Vec<&str> = group_by.iter().map(|dimension| field(*dimension)).collect();
    query.push(("from", from.to_string()));
    query.push(("to", to.to_string()));
    query.push((
        "interval",
        interval_name(options.interval.unwrap_or_else(|| covering(from, to, now))).to_owned(),
    ));
    query.push(("group_by", fields.join(",")));
    let answer: Answer = client.get("/analytics/usage", &query)?;
    let (mut rows, mut total) = (BTreeMap::<Key, Sums>::new(), Sums::default());
    for row in &answer.data {
        let bucket = options.interval.and(row.bucket);
        let values = fields.iter().map(|field| row.value(field).to_owned()).collect();
        rows.entry((bucket, values)).or_default().add(&row.sums);
        total.add(&row.sums);
    }
    Ok(Answered { from: answer.from, to: answer.to, group_by, rows, total })
}

impl Answered {
    fn json(&self, out: &mut impl Write) -> io::Result<()> {
        let fields: Vec<&'static str> = self.group_by.iter().map(|dimension| field(*dimension)).collect();
        let lines = self.rows.iter().map(|((bucket, values), sums)| {
            let keys = fields.iter().copied().zip(values.iter().map(String::as_str)).collect();
            Line::new(*bucket, keys, sums)
        });
        let total = Line::new(None, BTreeMap::new(), &self.total);
        let report =
            Report { from: self.from, to: self.to, group_by: fields.clone(), data: lines.collect(), total };
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)
    }

    fn csv(&self, names: &ProjectNames, out: &mut impl Write) -> io::Result<()> {
        let dimensions = self.group_by.iter().map(|dimension| title(*dimension).to_lowercase());
        let figures = ["requests", "errors", "input_tokens", "cache_read_tokens", "cache_write_5m_tokens"];
        let more =
            ["cache_write_1h_tokens", "output_tokens", "cost_usd", "unknown_cost_events", "estimated_events"];
        let bucket = self.has_buckets().then(|| "time".to_owned());
        let figures = figures.into_iter().chain(more).map(str::to_owned);
        csv::record(bucket.into_iter().chain(dimensions).chain(figures), out)?;
        for ((bucket, values), sums) in &self.rows {
            let figures = [
                sums.requests,
                sums.errors,
                sums.input_tokens,
                sums.cache_read_tokens,
                sums.cache_write_5m_tokens,
            ];
            let mut fields: Vec<String> = bucket.iter().map(ToString::to_string).collect();
            fields.extend(self.named(values, names));
            fields.extend(figures.iter().map(ToString::to_string));
            fields.push(sums.cache_write_1h_tokens.to_string());
            fields.push(sums.output_tokens.to_string());
            fields.push(sums.cost_nano_usd.to_string());
            fields.push(sums.unknown_cost_events.to_string());
            fields.push(sums.estimated_events.to_string());
            csv::record(fields, out)?;
        }
        Ok(())
    }

    fn table(&self, names: &ProjectNames, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{:.0} to {:.0}", self.from, self.to)?;
        writeln!(out)?;
        let time = self.has_buckets().then_some("TIME");
        let texts = time.into_iter().chain(self.group_by.iter().map(|dimension| title(*dimension)));
        let figures = ["CALLS", "ERRORS", "INPUT", "CACHE READ", "CACHE WRITE", "OUTPUT", "COST"];
        let columns = texts.map(|title| (title, Align::Left));
        let mut table = Table::new(columns.chain(figures.map(|title| (title, Align::Right))));
        for ((bucket, values), sums) in &self.rows {
            let mut cells: Vec<String> =
                bucket.iter().map(|bucket| bucket.strftime("%Y-%m-%d %H:%M").to_string()).collect();
            let named = self.named(values, names).into_iter();
            cells.extend(named.map(|value| if value.is_empty() { "-".to_owned() } else { value }));
            cells.extend(figure_cells(sums));
            table.row(cells);
        }
        let texts = self.group_by.len() + usize::from(self.has_buckets());
        let mut total: Vec<String> = vec![String::new(); texts];
        if let Some(first) = total.first_mut() {
            "total".clone_into(first);
        }
        total.extend(figure_cells(&self.total));
        table.total(total);
        table.print(out)?;
        self.caveats(out)
    }

    /// What the sums do not say. Never silent: an unknown cost is not zero.
    fn caveats(&self, out: &mut impl Write) -> io::Result<()> {
        let (unknown, estimated) = (self.total.unknown_cost_events, self.total.estimated_events);
        if unknown > 0 || estimated > 0 {
            writeln!(out)?;
        }
        if unknown > 0 {
            let calls = calls(unknown);
            writeln!(
                out,
                "The cost of {calls} is unknown and not in the sums: `mindweave usage --events` says why."
            )?;
        }
        if estimated > 0 {
            writeln!(out, "The figures of {} are estimated.", calls(estimated))?;
        }
        Ok(())
    }

    fn has_buckets(&self) -> bool {
        self.rows.keys().any(|(bucket, _)| bucket.is_some())
    }

    /// The values summed by, with the projects' names.
    fn named(&self, values: &[String], names: &ProjectNames) -> Vec<String> {
        let named = self.group_by.iter().zip(values).map(|(dimension, value)| match dimension {
            GroupBy::Project => names.of(value).to_owned(),
            GroupBy::Model | GroupBy::Key | GroupBy::User | GroupBy::Team => value.clone(),
        });
        named.collect()
    }
}

fn calls(number: u64) -> String {
    format!("{} {}", count(number), if number == 1 { "call" } else { "calls" })
}

/// The known cost, with a sign where there is more that is not known: that is not zero.
fn cost_cell(sums: &Sums) -> String {
    match (sums.cost_nano_usd, sums.unknown_cost_events) {
        (cost, 0) => dollars(cost),
        (NanoUsd(0), _) => "unknown".to_owned(),
        (cost, _) => format!("{} + ?", dollars(cost)),
    }
}

fn figure_cells(sums: &Sums) -> [String; 7] {
    let written = sums.cache_write_5m_tokens.saturating_add(sums.cache_write_1h_tokens);
    [
        count(sums.requests),
        count(sums.errors),
        count(sums.input_tokens),
        count(sums.cache_read_tokens),
        count(written),
        count(sums.output_tokens),
        cost_cell(sums),
    ]
}

/// The finest interval whose sums are kept that long and cover the time in few enough buckets.
fn covering(from: Timestamp, to: Timestamp, now: Timestamp) -> Interval {
    let (span, age) = (to.duration_since(from), now.duration_since(from));
    if span <= MINUTES_UP_TO && age <= MINUTES_SINCE {
        Interval::Minute
    } else if span <= HOURS_UP_TO && age <= HOURS_SINCE {
        Interval::Hour
    } else {
        Interval::Day
    }
}

fn interval_name(interval: Interval) -> &'static str {
    match interval {
        Interval::Minute => "minute",
        Interval::Hour => "hour",
        Interval::Day => "day",
    }
}

fn field(dimension: GroupBy) -> &'static str {
    match dimension {
        GroupBy::Project => "project_id",
        GroupBy::Model => "model",
        GroupBy::Key => "key_id",
        GroupBy::User => "user_id",
        GroupBy::Team => "team_id",
    }
}

fn title(dimension: GroupBy) -> &'static str {
    match dimension {
        GroupBy::Project => "PROJECT",
        GroupBy::Model => "MODEL",
        GroupBy::Key => "KEY",
        GroupBy::User => "USER",
        GroupBy::Team => "TEAM",
    }
}

#[cfg(test)]
mod tests;
