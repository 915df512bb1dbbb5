//! `mindweave usage`: what was used and what it cost, as sums, as single calls, or live.

mod csv;
mod event_line;
mod events;
mod follow;
mod projects;
mod sums;

use std::io::Write;

use crate::cli::Usage;
use crate::client::{Client, Query};
use crate::projects::find;

pub(crate) use event_line::Running;
pub(crate) use follow::{Follow, Form};

/// Does what was asked for.
///
/// # Errors
/// When the API or the terminal fails.
pub(crate) fn run(options: &Usage, client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    if options.follow {
        let form = match (options.json, options.csv) {
            (true, _) => Form::Json,
            (_, true) => Form::Csv,
            (false, false) => Form::Table,
        };
        let follow = Follow::start(client, &filters(options, client)?, form)?;
        return follow.print(out);
    }
    if options.events { events::print(options, client, out) } else { sums::print(options, client, out) }
}

/// The filters that every question about usage shares.
fn filters(options: &Usage, client: &Client) -> anyhow::Result<Query> {
    let mut query = Query::new();
    if let Some(project) = &options.project {
        query.push(("project_id", find(client, project)?.0));
    }
    if let Some(model) = &options.model {
        query.push(("model", model.clone()));
    }
    Ok(query)
}
