//! A table of figures with where they come from.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::load::Round;

/// Figures of one suite, two variants compared.
#[derive(Debug)]
pub(crate) struct Report {
    title: String,
    about: String,
    variants: [&'static str; 2],
    pub(crate) rows: Vec<Row>,
    pub(crate) notes: Vec<String>,
}

/// One scenario.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    sides: [Side; 2],
}

/// One variant of a scenario: medians over the rounds.
#[derive(Clone, Copy, Debug)]
struct Side {
    cpu_us: f64,
    p50_us: u64,
    p99_us: u64,
    answers: u64,
}

impl Row {
    /// Compares two variants, each with the CPU time a request and the outcome of every round.
    pub(crate) fn new(name: &str, first: &[(f64, Round)], second: &[(f64, Round)]) -> anyhow::Result<Self> {
        let sides = [side(first)?, side(second)?];
        Ok(Self { name: name.to_owned(), sides })
    }
}

fn side(rounds: &[(f64, Round)]) -> anyhow::Result<Side> {
    let median = |mut values: Vec<u64>| {
        values.sort_unstable();
        values.get(values.len() / 2).copied().context("no rounds")
    };
    let of = |figure: &dyn Fn(&Round) -> u64| median(rounds.iter().map(|(_, round)| figure(round)).collect());
    let mut cpu: Vec<f64> = rounds.iter().map(|(cpu, _)| *cpu).collect();
    cpu.sort_unstable_by(f64::total_cmp);
    Ok(Side {
        cpu_us: cpu.get(cpu.len() / 2).copied().context("no rounds")?,
        p50_us: of(&|round| round.latency_us.value_at_quantile(0.5))?,
        p99_us: of(&|round| round.latency_us.value_at_quantile(0.99))?,
        answers: of(&|round| round.answers)?,
    })
}

impl Report {
    /// An empty report.
    pub(crate) fn new(title: &str, about: &str, variants: [&'static str; 2]) -> Self {
        Self {
            title: title.to_owned(),
            about: about.to_owned(),
            variants,
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Prints the report, and writes it into the folder under the suite's title and the commit.
    pub(crate) fn publish(&self, folder: Option<&Path>) -> anyhow::Result<()> {
        let suite = self.title.split(':').next().unwrap_or_default().to_lowercase();
        publish(&suite, &self.text()?, folder)
    }

    fn text(&self) -> anyhow::Result<String> {
        let [first, second] = self.variants;
        let mut text = format!("# {}\n\n{}\n\n{}\n\n", self.title, self.about, machine());
        writeln!(
            text,
            "| Scenario | CPU us {first} | CPU us {second} | added | ratio | p50 us {first} / {second} | p99 us {first} / {second} | answers a round {first} / {second} |"
        )?;
        writeln!(text, "|---|---|---|---|---|---|---|---|")?;
        for Row { name, sides: [a, b] } in &self.rows {
            writeln!(
                text,
                "| {name} | {:.1} | {:.1} | {:.1} | {:.2} | {} / {} | {} / {} | {} / {} |",
                a.cpu_us,
                b.cpu_us,
                b.cpu_us - a.cpu_us,
                b.cpu_us / a.cpu_us,
                a.p50_us,
                b.p50_us,
                a.p99_us,
                b.p99_us,
                a.answers,
                b.answers
            )?;
        }
        for note in &self.notes {
            write!(text, "\n{note}\n")?;
        }
        Ok(text)
    }
}

/// Prints a report, and writes it into the folder under the suite's name and the commit.
pub(crate) fn publish(suite: &str, text: &str, folder: Option<&Path>) -> anyhow::Result<()> {
    io::stdout().lock().write_all(text.as_bytes())?;
    if let Some(folder) = folder {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(format!("{suite}-{}.md", commit())), text)?;
    }
    Ok(())
}

/// The commit that was measured, as far as git knows.
fn commit() -> String {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    if text.trim().is_empty() { "unknown".to_owned() } else { text.trim().to_owned() }
}

/// Processor, cores, kernel, day and commit.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    format!(
        "{day}, commit {}, {} ({cores} cores), Linux {}, load at the end {load}. Client, upstream and server share the machine.",
        commit(),
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim(),
    )
}
