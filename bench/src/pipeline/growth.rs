//! Queries over sums while the tables grow.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mindweave_test_servers::Postgres;

use super::Effort;
use super::ledgers::{ADMIN_TOKEN, Ledger};
use crate::report;

/// Combinations of project, key, user and model that the sums are kept apart by.
const DIMENSIONS: u64 = 2_000;
/// Times that each query is asked; the median counts.
const TIMES: usize = 21;
/// What the dashboard asks: a day by minute for one project, a month by day and model, a month's sum.
const QUERIES: [(&str, &str); 3] = [
    ("an hour by minute, one project", "/analytics/usage?interval=minute&project_id=prj_7"),
    ("a day by hour and project", "/analytics/usage?interval=hour&group_by=project"),
    ("30 days by day and model", "/analytics/usage?interval=day&group_by=model"),
];

/// Fills the tables of sums step by step and asks the same questions after each.
pub(crate) fn run(effort: &Effort) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ledger = Ledger::postgres()?;
    let (url, server) = ledger.server.as_ref().context("a server")?;
    let control_plane = runtime.block_on(ledger.control_plane())?;
    let api = format!("http://{}", control_plane.local_addr());
    let mut text = format!(
        "# Growth: queries over sums as the tables grow\n\nPostgreSQL, {DIMENSIONS} combinations of project, key, user and model over 30 days. Medians of {TIMES}, milliseconds.\n\n{}\n\n",
        report::machine()
    );
    write!(text, "| Rows of minutes | on disk |")?;
    for (name, _) in QUERIES {
        write!(text, " {name} |")?;
    }
    writeln!(text, "\n|---|---|---|---|---|")?;
    await_partitions(server, url)?;
    psql(server, url, &dimensions())?;
    let mut rows = 0;
    let mut target = effort.rows.min(100_000);
    while rows < effort.rows {
        psql(server, url, &minutes(rows, target))?;
        rows = target;
        psql(server, url, &sum_up())?;
        let size = psql(
            server,
            url,
            "SELECT pg_size_pretty(sum(pg_total_relation_size(c.oid))) FROM pg_class c WHERE relname LIKE 'usage_minute%' AND relkind = 'r'",
        )?;
        write!(text, "| {rows} | {} |", size.trim())?;
        for (_, path) in QUERIES {
            write!(text, " {:.1} |", median(&api, path)?.as_secs_f64() * 1e3)?;
        }
        writeln!(text)?;
        target = target.saturating_mul(10).min(effort.rows);
    }
    runtime.block_on(control_plane.shutdown());
    Ok(text)
}

/// Waits until the control plane has made its partitions: rows that are put in beside it would meet them half made.
fn await_partitions(server: &Postgres, url: &str) -> anyhow::Result<()> {
    let made =
        || psql(server, url, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'usage_minute'::regclass");
    let mut before = made()?;
    loop {
        std::thread::sleep(Duration::from_secs(2)); // between two looks
        let now = made()?;
        if now == before {
            return Ok(());
        }
        before = now;
    }
}

fn dimensions() -> String {
    format!(
        "INSERT INTO usage_dims (org_id, project_id, team_id, user_id, key_id, model, event_type)
         SELECT 'org_bench', 'prj_' || n % 50, '', 'usr_' || n % 100, 'key_' || n, 'model-' || n % 12, 'api_call'
         FROM generate_series(1, {DIMENSIONS}) n"
    )
}

/// Rows of minutes from one number to another, spread over 30 days.
fn minutes(from: u64, to: u64) -> String {
    format!(
        "DO $$ DECLARE newest bigint := (extract(epoch FROM date_trunc('minute', now())) * 1000000)::bigint;
         BEGIN
           INSERT INTO usage_minute (bucket, dim_id, requests, denied, mcp_tool_calls, errors, input_tokens, output_tokens,
             cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, thinking_tokens, web_search_requests, cost_nano_usd,
             unknown_cost_events, estimated_events, latency_ms_sum, latency_ms_max)
           SELECT newest - (n * 7919 % 43200) * 60000000, d.dim_id, 10, 0, 0, 0, 4000, 2000, 50000, 0, 0, 0, 0, 95000000, 0, 0, 9000, 1600
           FROM generate_series({from}::bigint, {to} - 1) n
           JOIN (SELECT dim_id, row_number() OVER (ORDER BY dim_id) - 1 AS place FROM usage_dims) d
             ON d.place = n / 43200 % {DIMENSIONS}
           ON CONFLICT DO NOTHING;
         END $$;"
    )
}

/// Hours and days out of the minutes, closed as the job closes them.
fn sum_up() -> String {
    let figures = "requests, denied, mcp_tool_calls, errors, input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens,
        cache_write_1h_tokens, thinking_tokens, web_search_requests, cost_nano_usd, unknown_cost_events, estimated_events, latency_ms_sum";
    let sums: Vec<_> = figures.split(',').map(|name| format!("sum({})::bigint", name.trim())).collect();
    let sums = sums.join(", ");
    let close = |level: &str, below: &str, micros: u64| {
        format!(
            "TRUNCATE usage_{level};
             UPDATE rollup_state SET complete_until = (extract(epoch FROM now()) * 1000000)::bigint / {micros} * {micros} WHERE level = '{level}';
             INSERT INTO usage_{level} (bucket, dim_id, {figures}, latency_ms_max)
             SELECT bucket / {micros} * {micros}, dim_id, {sums}, max(latency_ms_max) FROM usage_{below}
             WHERE bucket < (SELECT complete_until FROM rollup_state WHERE level = '{level}') GROUP BY 1, 2;"
        )
    };
    let (hour, day) = (3_600_000_000, 86_400_000_000);
    format!("BEGIN; {} {} COMMIT; ANALYZE", close("hour", "minute", hour), close("day", "hour", day))
}

fn psql(server: &Postgres, url: &str, sql: &str) -> anyhow::Result<String> {
    let output = Command::new(server.bin("psql"))
        .args([
            url,
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            "--command",
            sql,
        ])
        .output()?;
    if !output.status.success() {
        bail!("psql: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn median(api: &str, path: &str) -> anyhow::Result<Duration> {
    let agent = ureq::Agent::new_with_defaults();
    let mut took = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let began = Instant::now();
        let request =
            agent.get(format!("{api}{path}")).header("authorization", format!("Bearer {ADMIN_TOKEN}"));
        request.call().with_context(|| path.to_owned())?.body_mut().read_to_vec()?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    took.get(TIMES / 2).copied().context("no times")
}
