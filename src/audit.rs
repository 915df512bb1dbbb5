//! `mindweave audit`: what can be said of an audit log without its server.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use mindweave_control_plane::{Anchor, ExportError, ExportReport, export_verify};
use serde::Serialize;

use crate::cli::{AuditAction, AuditVerify};

/// What is wrong with an export, and with how it was asked for, are told apart.
const TAMPERED: u8 = 1;
/// Nothing can be said.
const UNREADABLE: u8 = 2;

/// Does what was asked for. 0: sound; 1: tampered with; 2: cannot be read, or is no export.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn run(action: &AuditAction, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let AuditAction::Verify(options) = action;
    match verify(options) {
        Ok(verified) => {
            if options.json {
                writeln!(out, "{}", serde_json::to_string(&verified)?)?;
            } else {
                print(&verified, out)?;
            }
            Ok(if verified.sound { ExitCode::SUCCESS } else { ExitCode::from(TAMPERED) })
        }
        Err(error) => {
            drop(writeln!(io::stderr(), "mindweave: {}", crate::chain(&error)));
            Ok(ExitCode::from(UNREADABLE))
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Verified {
    sound: bool,
    /// Whether something outside of the export vouches for its end.
    anchored: bool,
    #[serde(flatten)]
    report: ExportReport,
}

fn verify(options: &AuditVerify) -> anyhow::Result<Verified> {
    let mut anchors: Vec<Anchor> = options.heads.clone();
    if let Some(older) = &options.against {
        anchors.extend(end_of(older).with_context(|| older.display().to_string())?);
    }
    let shown = options.file.display().to_string();
    let report = if options.file == Path::new("-") {
        read(io::stdin().lock(), &anchors)
    } else {
        open(&options.file).and_then(|file| read(file, &anchors))
    };
    let report = report.context(shown)?;
    Ok(Verified { sound: report.fault.is_none(), anchored: !anchors.is_empty(), report })
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    Ok(BufReader::new(File::open(path).map_err(ExportError::Read)?))
}

fn read(export: impl BufRead, anchors: &[Anchor]) -> anyhow::Result<ExportReport> {
    Ok(export_verify(export, anchors)?)
}

/// The last entry of an older export, which must itself be sound.
fn end_of(older: &Path) -> anyhow::Result<Option<Anchor>> {
    let report = read(open(older)?, &[])?;
    if let Some(fault) = report.fault {
        anyhow::bail!("is not sound itself: entry {}: {}", fault.sequence, fault.kind.meaning());
    }
    let head = report.head.map(|head| head.parse().map_err(anyhow::Error::msg));
    head.transpose()
}

fn print(verified: &Verified, out: &mut impl Write) -> io::Result<()> {
    let Verified { report, anchored, .. } = verified;
    writeln!(out, "chain    {}", report.chain)?;
    let first = report.first.map_or_else(String::new, |first| format!(", the first is number {first}"));
    writeln!(out, "entries  {} sound{first}", report.entries)?;
    if report.erased > 0 {
        writeln!(out, "erased   {} without what identified a person", report.erased)?;
    }
    if let Some(head) = &report.head {
        writeln!(out, "head     {head}")?;
    }
    if let Some(fault) = &report.fault {
        let line = report.fault_line.map_or_else(String::new, |line| format!(" (line {line})"));
        return writeln!(out, "FAULT    entry {}{line}: {}", fault.sequence, fault.kind.meaning());
    }
    if !anchored {
        writeln!(
            out,
            "\nThe chain is whole. That nobody wrote all of it anew, or cut off its end, only an entry from elsewhere shows: pass\n\
             --head SEQUENCE:HASH from a log line or a message, or --against an older export."
        )?;
    }
    Ok(())
}
