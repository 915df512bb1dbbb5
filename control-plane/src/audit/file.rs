//! Verifies an export, without a server.

use std::io::{self, BufRead};

use serde::Serialize;

use super::chain::from_hex;
use super::line::{FORMAT, Head, Line};
use super::verify::{Anchor, Fault, FaultKind, Walk};

/// Longest line that is read. An entry holds what the API shows before and after a change, a megabyte of policy at most, each
/// escaped twice.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// What an export was found to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    /// Whose entries they are.
    pub chain: String,
    /// Entries that were found sound.
    pub entries: u64,
    /// Entries of those whose personal part was erased.
    pub erased: u64,
    /// The first entry's number, unless there is none.
    pub first: Option<i64>,
    /// The last sound entry as `SEQUENCE:HASH`: what a later export must still have.
    pub head: Option<String>,
    /// What is wrong first, if something is.
    pub fault: Option<Fault>,
    /// The line of the file in which that is.
    pub fault_line: Option<u64>,
}

/// Why nothing can be said about an export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be read.
    #[error("the export cannot be read")]
    Read(#[from] io::Error),
    /// It does not begin as an export does.
    #[error("this is no export of an audit log: `GET /audit/export?format=jsonl` gives one")]
    NoExport,
}

/// Verifies an export, line by line, in constant memory. `anchors` are entries that are known from outside, and that it must have.
///
/// # Errors
/// When it cannot be read, or is no export. What is wrong with an export is in the report.
pub fn export_verify(mut export: impl BufRead, anchors: &[Anchor]) -> Result<ExportReport, ExportError> {
    let mut buffer = Vec::new();
    let head = match line(&mut export, &mut buffer)? {
        Some(text) => serde_json::from_slice::<Head>(text).ok().filter(|head| head.format == FORMAT),
        None => None,
    };
    let head = head.ok_or(ExportError::NoExport)?;
    let hash = from_hex(&head.head.hash).ok_or(ExportError::NoExport)?;
    let mut anchors = anchors.to_vec();
    anchors.push(Anchor { sequence: head.head.sequence, hash });
    let mut walk = if head.after == 0 {
        Walk::from_beginning(&head.chain, anchors)
    } else {
        Walk::from_anywhere(&head.chain, anchors)
    };
    let (mut number, mut first, mut fault) = (1_u64, None, None);
    while fault.is_none() {
        let Some(text) = line(&mut export, &mut buffer)? else { break };
        number = number.saturating_add(1);
        let next = walk.last().map_or(head.after, |last| last.sequence).saturating_add(1);
        fault = match serde_json::from_slice::<Line>(text).ok().and_then(Line::read) {
            None => Some(Fault::at(next, FaultKind::Unreadable)),
            Some(read) if first.is_none() && read.entry().sequence != next => {
                let kind =
                    if read.entry().sequence > next { FaultKind::Missing } else { FaultKind::OutOfOrder };
                Some(Fault::at(read.entry().sequence, kind))
            }
            Some(read) if read.entry().sequence > head.head.sequence => {
                Some(Fault::at(read.entry().sequence, FaultKind::BehindHead))
            }
            Some(read) => {
                first.get_or_insert(read.entry().sequence);
                walk.step(&read.entry()).err()
            }
        };
    }
    let fault_line = fault.map(|_| number);
    let fault = fault.or_else(|| walk.end().err());
    Ok(ExportReport {
        chain: head.chain,
        entries: walk.entries,
        erased: walk.erased,
        first: first.filter(|_| walk.entries > 0),
        head: walk.last().filter(|last| last.sequence > 0).map(|last| last.to_string()),
        fault,
        fault_line,
    })
}

/// The next line without its end, or `None` behind the last one.
fn line<'a>(export: &mut impl BufRead, buffer: &'a mut Vec<u8>) -> Result<Option<&'a [u8]>, ExportError> {
    buffer.clear();
    let read = io::Read::take(&mut *export, MAX_LINE_BYTES).read_until(b'\n', buffer)?;
    if read == 0 {
        return Ok(None);
    }
    Ok(Some(buffer.trim_ascii_end()))
}
