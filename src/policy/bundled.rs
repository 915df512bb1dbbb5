//! Lists the bundled policies, or prints one: its text, or data to start from.

use std::io::Write;

use anyhow::bail;

use crate::table::{Align, Table};

/// Prints.
///
/// # Errors
/// When there is no policy of this name.
pub(super) fn run(name: Option<&str>, data: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let Some(name) = name else { return list(out) };
    let Some(policy) = mindweave_policy::bundled_policy(name) else {
        let known: Vec<&str> = mindweave_policy::bundled().iter().map(|policy| policy.name).collect();
        bail!("there is no bundled policy {name:?}; there are: {}", known.join(", "));
    };
    let text = if data { policy.example_data } else { policy.rego };
    write!(out, "{text}")?;
    Ok(())
}

fn list(out: &mut impl Write) -> anyhow::Result<()> {
    let mut table = Table::new([("NAME", Align::Left), ("WHAT IT DOES", Align::Left)]);
    for policy in mindweave_policy::bundled() {
        table.row(vec![policy.name.to_owned(), policy.description.to_owned()]);
    }
    table.print(out)?;
    writeln!(out, "\n`mindweave policy bundled NAME` prints a policy, with --data an example of its data.")?;
    Ok(())
}
