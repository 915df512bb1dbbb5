//! Calls as they land.

use std::io::{BufRead, BufReader, Read, Write};

use anyhow::{Context, bail};
use mindweave_metering::UsageEvent;
use serde::Deserialize;

use super::csv;
use super::event_line::{self, Running};
use super::projects::ProjectNames;
use crate::client::{Client, Query};

/// An event with a thousand batch items has a few hundred kilobytes.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// How calls are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Columns and a running total, for people.
    Table,
    /// An object a line.
    Json,
    /// A record a line.
    Csv,
}

/// A subscription to what lands.
pub(crate) struct Follow<'a, R> {
    client: &'a Client,
    lines: BufReader<R>,
    only_model: Option<String>,
    names: ProjectNames,
    form: Form,
    running: Running,
}

/// What the server says when it had to leave events out.
#[derive(Deserialize)]
struct Lagged {
    missed_events: u64,
}

impl<'a> Follow<'a, Box<dyn Read + Send>> {
    /// Subscribes: whatever lands from now on will be printed.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub(crate) fn start(client: &'a Client, filters: &Query, form: Form) -> anyhow::Result<Self> {
        let mut query = filters.clone();
        let model = query.extract_if(.., |(name, _)| *name == "model").map(|(_, model)| model).next();
        let names = ProjectNames::load(client)?;
        let stream: Box<dyn Read + Send> = Box::new(client.stream("/v1/usage/live", &query)?);
        Ok(Self {
            client,
            lines: BufReader::new(stream),
            only_model: model,
            names,
            form,
            running: Running::default(),
        })
    }
}

impl<R: Read> Follow<'_, R> {
    /// Prints until the stream ends, which it does not do by itself.
    ///
    /// # Errors
    /// When the stream ends or the terminal goes away.
    pub(crate) fn print(mut self, out: &mut impl Write) -> anyhow::Result<()> {
        self.titles(out)?;
        while self.next(out)? {}
        bail!("the control plane closed the stream: is it stopping?")
    }

    /// What was printed so far.
    pub(crate) fn running(&self) -> Running {
        self.running
    }

    /// Prints what comes before the first call.
    pub(crate) fn titles(&self, out: &mut impl Write) -> anyhow::Result<()> {
        match self.form {
            Form::Table => writeln!(out, "{}", event_line::titles())?,
            Form::Csv => csv::record(event_line::CSV_COLUMNS, out)?,
            Form::Json => {}
        }
        Ok(out.flush()?)
    }

    /// Reads one server-sent event and prints it if it is a call; `false` at the end of the stream.
    pub(crate) fn next(&mut self, out: &mut impl Write) -> anyhow::Result<bool> {
        let (mut kind, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            let read = (&mut self.lines).take(MAX_LINE_BYTES).read_line(&mut line);
            if read.context("the connection to the control plane broke")? == 0 {
                return Ok(false);
            }
            match line.trim_end_matches(['\r', '\n']) {
                "" => break,
                line => match line.split_once(": ") {
                    Some(("event", value)) => value.clone_into(&mut kind),
                    Some(("data", value)) => value.clone_into(&mut data),
                    _ => {} // comments that keep the connection alive, and ids
                },
            }
        }
        match kind.as_str() {
            "usage" => self.call(&data, out)?,
            "lagged" => {
                let missed: Lagged =
                    serde_json::from_str(&data).context("the control plane sent a broken notice")?;
                let missed = missed.missed_events;
                writeln!(
                    std::io::stderr(),
                    "too slow to print: {missed} calls are not shown and not in the total"
                )?;
            }
            _ => {}
        }
        Ok(true)
    }

    fn call(&mut self, data: &str, out: &mut impl Write) -> anyhow::Result<()> {
        let event: UsageEvent =
            serde_json::from_str(data).context("the control plane sent a broken event")?;
        if self.only_model.is_some() && self.only_model.as_deref() != event.model.as_deref() {
            return Ok(());
        }
        self.running.add(&event);
        let id = event.project_id.as_str();
        if !self.names.knows(id) {
            self.names = ProjectNames::load(self.client)?; // made since
            self.names.settle_for_id(id);
        }
        let project = self.names.of(id);
        match self.form {
            Form::Table => writeln!(out, "{}", event_line::row(&event, project, &self.running))?,
            Form::Json => writeln!(out, "{data}")?,
            Form::Csv => csv::record(event_line::csv_fields(&event, project), out)?,
        }
        Ok(out.flush()?)
    }
}
