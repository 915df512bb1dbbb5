//! Statements as comma-separated values (RFC 4180), one row a line of a statement.

use super::{Line, MonthStatus, Statement};

const HEAD: &str = "month,status,project_id,project_name,model,requests,input_tokens,output_tokens,cache_read_tokens,\
                    cache_write_tokens,web_search_requests,unknown_cost_events,cost_nano_usd,cost_usd,currency\r\n";

/// The statements as one table.
pub(super) fn table(statements: &[Statement]) -> String {
    let mut table = HEAD.to_owned();
    for statement in statements {
        for line in &statement.lines {
            row(&mut table, statement, line);
        }
    }
    table
}

fn row(table: &mut String, statement: &Statement, line: &Line) {
    let status = match statement.status {
        MonthStatus::Open => "open",
        MonthStatus::Closed => "closed",
    };
    let text = |text: &Option<String>| field(text.as_deref().unwrap_or_default());
    let quantities = &line.quantities;
    let figures = [
        quantities.requests,
        quantities.input_tokens,
        quantities.output_tokens,
        quantities.cache_read_tokens,
        quantities.cache_write_tokens,
        quantities.web_search_requests,
        quantities.unknown_cost_events,
        quantities.cost_nano_usd,
    ];
    let mut fields = vec![statement.month.clone(), status.to_owned()];
    fields.extend([text(&line.project_id), text(&line.project_name), text(&line.model)]);
    fields.extend(figures.map(|figure| figure.to_string()));
    fields.extend([quantities.cost_usd.clone(), statement.currency.to_owned()]);
    table.push_str(&fields.join(","));
    table.push_str("\r\n");
}

/// A text as a field. What a spreadsheet would take for a formula gets a mark before it: clients choose the names of models.
/// <https://owasp.org/www-community/attacks/CSV_Injection>
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_field_or_becomes_a_formula() {
        assert_eq!(field("claude-opus"), "claude-opus");
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("say \"hi\"\n"), "\"say \"\"hi\"\"\n\"");
        assert_eq!(field("=1+1"), "'=1+1");
        assert_eq!(field("@x,y"), "\"'@x,y\"");
        assert_eq!(field(""), "");
    }
}
