//! Sorts a list by one of its fields and goes through it page by page: `sort` names the field, with a minus before it for the reverse, and a
//! cursor holds the last entry's value of it and its id. Entries that come or go in between are neither missed nor doubled.

use serde::{Deserialize, Serialize};

use super::cursor;
use super::problem::Problem;
use super::query::Parameters;
use crate::db::sql::QueryBuilder;

/// A field by which a list can be sorted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SortField {
    /// Its name in `sort`.
    pub(crate) name: &'static str,
    /// Its column, which is never null.
    pub(crate) column: &'static str,
    /// Whether the column holds numbers, as times are.
    pub(crate) is_number: bool,
}

/// An entry's value of the field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum SortValue {
    Number(i64),
    Text(String),
}

impl From<i64> for SortValue {
    fn from(value: i64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for SortValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// The order of a list, and after which entry the page begins.
#[derive(Clone, Debug)]
pub(crate) struct Sorting {
    /// The kind of list in cursors: a cursor of one order means something else in another.
    list: String,
    field: SortField,
    descending: bool,
    after: Option<(SortValue, String)>,
}

impl Parameters {
    /// The order of a list with these fields, of which the first is the default.
    ///
    /// # Errors
    /// `invalid_cursor` for a cursor that is none of this list in this order.
    pub(crate) fn sorting<const N: usize>(
        &mut self,
        list: &str,
        default: SortField,
        others: [SortField; N],
    ) -> Result<Sorting, Problem> {
        let (sort, after) = (self.text("sort"), self.text("cursor"));
        let sort = sort.unwrap_or_else(|| default.name.to_owned());
        let (name, descending) = match sort.strip_prefix('-') {
            Some(name) => (name, true),
            None => (sort.as_str(), false),
        };
        let mut fields = others.iter().chain([&default]);
        let field = fields.find(|field| field.name == name).copied().unwrap_or_else(|| {
            let names: Vec<_> = [&default].into_iter().chain(&others).map(|field| field.name).collect();
            let message =
                format!("must be one of: {}, with a minus before it for the reverse", names.join(", "));
            self.refuse("sort", &message);
            default
        });
        let list = format!("{list}.{sort}");
        let after = after.map(|text| read(&list, field, &text)).transpose()?;
        Ok(Sorting { list, field, descending, after })
    }
}

fn read(list: &str, field: SortField, text: &str) -> Result<(SortValue, String), Problem> {
    let after: (SortValue, String) =
        serde_json::from_str(&cursor::read(list, text)?).map_err(|_| cursor::invalid())?;
    if matches!(after.0, SortValue::Number(_)) != field.is_number {
        return Err(cursor::invalid());
    }
    Ok(after)
}

impl Sorting {
    /// Whether it is this field by which the list is sorted.
    pub(crate) fn is_by(&self, field: SortField) -> bool {
        self.field.name == field.name
    }

    /// Adds to a statement with a WHERE that it goes on after the page before, and its order. `id` is the column that tells equal ones apart.
    pub(crate) fn push(&self, sql: &mut QueryBuilder, id: &'static str, limit: u64) {
        let column = self.field.column;
        let (than, order) = if self.descending { ("<", "DESC") } else { (">", "ASC") };
        if let Some((value, last)) = &self.after {
            sql.push(format!(" AND ({column}, {id}) {than} ("));
            match value {
                SortValue::Number(value) => sql.push_bind(*value),
                SortValue::Text(value) => sql.push_bind(value.as_str()),
            };
            sql.push(", ").push_bind(last.as_str()).push(")");
        }
        sql.push(format!(" ORDER BY {column} {order}, {id} {order} LIMIT "));
        sql.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// The cursor of an entry, after which the next page begins.
    pub(crate) fn cursor(&self, value: impl Into<SortValue>, id: &str) -> String {
        let position = serde_json::to_string(&(value.into(), id)).unwrap_or_default(); // texts and numbers serialise
        cursor::write(&self.list, &position)
    }
}
