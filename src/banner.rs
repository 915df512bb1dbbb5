//! What a started server says: where it listens, and the lines to copy.

use std::io::{self, Write};
use std::path::Path;

/// What Claude Code needs beside the base URL: behind any URL that is not Anthropic's own it turns these features off.
/// The names are read by Claude Code 2.1.330.
const CLAUDE_CODE_FEATURES: [(&str, &str); 4] = [
    ("ENABLE_TOOL_SEARCH", "true"),
    ("CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING", "1"),
    ("CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY", "1"),
    ("CLAUDE_CODE_GATEWAY_HINT_HEADERS", "1"),
];

/// A running server's addresses, as URLs for people.
#[derive(Debug)]
pub(crate) struct Banner<'a> {
    /// Where it listens for traffic.
    pub(crate) proxy: String,
    /// What apps are to be given.
    pub(crate) base_url: String,
    /// Health and metrics.
    pub(crate) admin: String,
    /// The API.
    pub(crate) control_plane: String,
    /// The Claude API.
    pub(crate) upstream: &'a str,
    /// The data folder.
    pub(crate) data_dir: &'a Path,
    /// How to watch: `--config` and the like included.
    pub(crate) watch: String,
    /// Makes the first owner, while there is nobody.
    pub(crate) owner_link: Option<&'a str>,
}

impl Banner<'_> {
    /// Prints it.
    pub(crate) fn print(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let Self { proxy, base_url, admin, control_plane, upstream, watch, .. } = self;
        writeln!(out, "MindWeave {} is ready", env!("CARGO_PKG_VERSION"))?;
        writeln!(out)?;
        writeln!(out, "  proxy    {proxy}  ->  {upstream}")?;
        writeln!(out, "  API      {control_plane}")?;
        writeln!(out, "  health   {admin}/health/ready, {admin}/metrics")?;
        writeln!(out, "  data     {}", self.data_dir.display())?;
        writeln!(out)?;
        writeln!(out, "Point apps, SDKs and Claude Code at it; they keep their own key:")?;
        writeln!(out)?;
        writeln!(out, "  export ANTHROPIC_BASE_URL={base_url}")?;
        writeln!(out)?;
        writeln!(out, "Claude Code turns features off behind any custom base URL; these turn them back on:")?;
        writeln!(out)?;
        for (name, value) in CLAUDE_CODE_FEATURES {
            writeln!(out, "  export {name}={value}")?;
        }
        writeln!(out)?;
        writeln!(out, "Watch what every call costs:")?;
        writeln!(out)?;
        writeln!(out, "  {watch}")?;
        writeln!(out)?;
        if let Some(link) = self.owner_link {
            print_owner_link(out, link)?;
        }
        out.flush()
    }
}

/// Says how to become the owner.
pub(crate) fn print_owner_link(out: &mut (impl Write + ?Sized), link: &str) -> io::Result<()> {
    writeln!(out, "Nobody has an account yet. This link makes the owner's; it works once, for a day:")?;
    writeln!(out)?;
    writeln!(out, "  {link}")?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_holds_the_exact_lines_to_copy() {
        let banner = Banner {
            proxy: "http://127.0.0.1:8000".to_owned(),
            base_url: "http://127.0.0.1:8000".to_owned(),
            admin: "http://127.0.0.1:9090".to_owned(),
            control_plane: "http://127.0.0.1:3000".to_owned(),
            upstream: "https://api.anthropic.com",
            data_dir: Path::new("./mindweave-data"),
            watch: "mindweave usage --follow".to_owned(),
            owner_link: Some("http://localhost:3000/auth/setup?token=mwo_x"),
        };
        let mut out = Vec::new();
        banner.print(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in [
            "  export ANTHROPIC_BASE_URL=http://127.0.0.1:8000",
            "  export ENABLE_TOOL_SEARCH=true",
            "  export CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING=1",
            "  export CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY=1",
            "  export CLAUDE_CODE_GATEWAY_HINT_HEADERS=1",
            "  mindweave usage --follow",
            "  http://localhost:3000/auth/setup?token=mwo_x",
            "  data     ./mindweave-data",
        ] {
            assert!(text.lines().any(|found| found == line), "missing: {line}\n{text}");
        }
    }
}
