//! Unified diffs, as `diff -u` writes them.

use std::time::Duration;

use similar::TextDiff;

/// Lines around a change.
const CONTEXT_LINES: usize = 3;
/// After this the diff is made coarser instead of longer to compute.
const DEADLINE: Duration = Duration::from_secs(2);

/// The unified diff of two texts under these headers; empty when they are equal.
pub(super) fn unified(old: &str, new: &str, (old_header, new_header): &(String, String)) -> String {
    if old == new {
        return String::new();
    }
    let diff = TextDiff::configure().timeout(DEADLINE).diff_lines(old, new);
    diff.unified_diff().context_radius(CONTEXT_LINES).header(old_header, new_header).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_names_both_sides_and_shows_what_changed_with_its_surroundings() {
        let old: String = (1..=9).map(|line| format!("line {line}\n")).collect();
        let new = old.replace("line 5\n", "line five\n");
        let diff = unified(&old, &new, &("rego version 1".into(), "rego version 2".into()));
        let wanted = "--- rego version 1\n+++ rego version 2\n@@ -2,7 +2,7 @@\n line 2\n line 3\n line 4\n-line 5\n+line five\n line 6\n line 7\n line 8\n";
        assert_eq!(diff, wanted);
        assert_eq!(unified(&old, &old, &(String::new(), String::new())), "");
    }
}
