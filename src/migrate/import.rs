//! `mindweave migrate import`: from the file of `mindweave serve` to a server for several control planes.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use mindweave_control_plane::{ImportProgress, ImportReport, ledger_import};

use crate::config::{Config, Database};
use crate::data_dir::DataDir;
use crate::table::{Align, Table};

/// Between two lines about one table.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Moves the ledger and says what was moved.
///
/// # Errors
/// When a server still runs on the file, or the import fails; nothing is moved then.
pub(super) async fn run(
    config: &Config,
    from: &Database,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let file = config.file_of(from).context("`--from` names no file")?;
    let _folders = take_folders(config, &file)?;
    let mut progress = Progress { told: Instant::now() };
    let report = ledger_import(&file, &config.ledger(), |step| progress.tell(step)).await?;
    if json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        print(&report, out)?;
    }
    Ok(())
}

/// Keeps servers from the file's folder and from the data folder, whose journal belongs to the file, until it is moved.
fn take_folders(config: &Config, file: &Path) -> anyhow::Result<Vec<DataDir>> {
    let mut taken: Vec<DataDir> = Vec::new();
    for folder in [file.parent(), Some(config.data_dir.as_path())].into_iter().flatten() {
        // One that is not there is used by nobody.
        let Ok(folder) = folder.canonicalize() else { continue };
        if !taken.iter().any(|taken| taken.path() == folder) {
            taken.extend(DataDir::open_used(&folder)?);
        }
    }
    Ok(taken)
}

/// Lines on stderr: now and then one about a big table, and one at the end of each.
struct Progress {
    told: Instant,
}

impl Progress {
    fn tell(&mut self, step: ImportProgress) {
        let ImportProgress { table, sent, of } = step;
        if sent < of && self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        // Nobody has to read it.
        drop(writeln!(io::stderr(), "{table}: {sent} of {of} rows"));
    }
}

fn print(report: &ImportReport, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new([("TABLE", Align::Left), ("ROWS", Align::Right)]);
    for moved in &report.tables {
        table.row(vec![moved.table.to_owned(), moved.rows.to_string()]);
    }
    table.print(out)?;
    writeln!(out)?;
    writeln!(out, "{} is now in {}.", report.from, report.database)?;
    writeln!(
        out,
        "Start `mindweave control-plane` on the same data folder: it books what is left in its journal. Never start\n\
         `mindweave serve` on the file again: the two ledgers would part."
    )
}
