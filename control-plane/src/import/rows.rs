//! Rows of the file in the form in which the server reads them.

use mindweave_metering::EventId;

use super::ImportError;
use super::tables::{Cell, Column, EVENTS, Figures, ID_AT, Kind, Table};
use crate::db::copy_field;
use crate::usage::id_at;

/// The columns of a table on the server, and how its rows come about.
#[derive(Debug)]
pub(super) struct Form {
    table: &'static str,
    columns: Vec<Column>,
    /// Where an event's id and its end stand.
    event: Option<(usize, usize)>,
    /// By how many bytes each column's texts have grown.
    grown: Vec<i64>,
}

/// What stands for the character NUL, which a server's texts cannot hold; as in ingest.
const NUL_STANDS: &str = "\u{fffd}";

impl Form {
    /// For a table that has these columns in the file.
    pub(super) fn of(table: Table, from: &[Column]) -> Result<Self, ImportError> {
        let mut columns = from.to_vec();
        let mut event = None;
        if table.name == EVENTS {
            let place = |name: &str| from.iter().position(|column| column.name == name);
            let places = place("event_id").zip(place("ended_at"));
            event = Some(places.ok_or(ImportError::Columns { table: table.name })?);
            columns.push(Column { name: ID_AT.to_owned(), kind: Kind::Integer });
        }
        Ok(Self { table: table.name, grown: vec![0; from.len()], columns, event })
    }

    /// Every column, in the order in which they are sent.
    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Their names, with commas between them.
    pub(super) fn names(&self) -> String {
        self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Adds a row.
    pub(super) fn add(&mut self, row: &[Cell], out: &mut Vec<u8>) -> Result<(), ImportError> {
        let columns = i16::try_from(self.columns.len()).unwrap_or(i16::MAX);
        out.extend_from_slice(&columns.to_be_bytes());
        for (cell, grown) in row.iter().zip(&mut self.grown) {
            match cell {
                Cell::Integer(value) => {
                    copy_field(out, value.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
                }
                Cell::Text(Some(text)) if text.contains('\0') => {
                    let fit = text.replace('\0', NUL_STANDS);
                    let more = fit.len().saturating_sub(text.len());
                    *grown = grown.saturating_add(i64::try_from(more).unwrap_or(i64::MAX));
                    copy_field(out, Some(fit.as_bytes()));
                }
                Cell::Text(text) => copy_field(out, text.as_deref().map(str::as_bytes)),
                Cell::Bytes(bytes) => copy_field(out, bytes.as_deref()),
            }
        }
        if let Some((id, ended_at)) = self.event {
            let (Some(Cell::Bytes(Some(id))), Some(Cell::Integer(Some(ended_at)))) =
                (row.get(id), row.get(ended_at))
            else {
                return Err(ImportError::Columns { table: self.table });
            };
            let id = <[u8; 16]>::try_from(id.as_slice());
            let id = id.map_err(|_| ImportError::Columns { table: self.table })?;
            copy_field(out, Some(&id_at(&EventId::from_bytes(id), *ended_at).to_be_bytes()));
        }
        Ok(())
    }

    /// What the server must say of the table, of which the file says this.
    pub(super) fn expected(&self, mut figures: Figures) -> Figures {
        // The first is the number of rows; the second of each column's two is where bytes are summed.
        for (bytes, grown) in figures.iter_mut().skip(2).step_by(2).zip(&self.grown) {
            *bytes = bytes.saturating_add(*grown);
        }
        figures
    }
}
