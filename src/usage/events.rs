//! Single calls.

use std::io::Write;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use mindweave_metering::UsageEvent;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event_line::{self, Running};
use super::projects::ProjectNames;
use super::{csv, filters};
use crate::cli::Usage;
use crate::client::{Client, Query};

/// How far back single calls are listed unless told otherwise.
const DEFAULT_SPAN: SignedDuration = SignedDuration::from_hours(24);
/// Calls asked for at once.
const PAGE: &str = "500";

#[derive(Deserialize)]
struct Page {
    data: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

/// Prints every call in the time asked for, oldest first, page by page.
pub(super) fn print(options: &Usage, client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    let mut query = filters(options, client)?;
    let from = options.from.map_or_else(|| Timestamp::now().checked_sub(DEFAULT_SPAN), Ok)?;
    query.push(("from", from.to_string()));
    query.extend(options.to.map(|to| ("to", to.to_string())));
    query.push(("order", "asc".to_owned()));
    query.push(("limit", PAGE.to_owned()));
    if options.json {
        return print_json(client, query, out);
    }
    let names = ProjectNames::load(client)?;
    let mut running = Running::default();
    if options.csv {
        csv::record(event_line::CSV_COLUMNS, out)?;
    } else {
        writeln!(out, "{}", event_line::titles())?;
    }
    each(client, query, |raw| {
        let event: UsageEvent =
            serde_json::from_str(raw.get()).context("the control plane sent a broken event")?;
        running.add(&event);
        let project = names.of(event.project_id.as_str());
        if options.csv {
            csv::record(event_line::csv_fields(&event, project), out)?;
        } else {
            writeln!(out, "{}", event_line::row(&event, project, &running))?;
        }
        Ok(())
    })?;
    if !options.csv {
        writeln!(out)?;
        writeln!(out, "since {from:.0}: {}", running.summary())?;
    }
    Ok(())
}

/// An array with a call a line, so that tools for either can read it.
fn print_json(client: &Client, query: Query, out: &mut impl Write) -> anyhow::Result<()> {
    let mut first = true;
    write!(out, "[")?;
    each(client, query, |raw| {
        write!(out, "{}\n{}", if first { "" } else { "," }, raw.get())?;
        first = false;
        Ok(())
    })?;
    Ok(writeln!(out, "\n]")?)
}

fn each(
    client: &Client,
    mut query: Query,
    mut print: impl FnMut(&RawValue) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    loop {
        let page: Page = client.get("/v1/usage/events", &query)?;
        for event in &page.data {
            print(event)?;
        }
        let Some(cursor) = page.next_cursor else { return Ok(()) };
        query.retain(|(name, _)| *name != "cursor");
        query.push(("cursor", cursor));
    }
}
