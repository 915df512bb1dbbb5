//! The `mindweave` command: reads its line and configuration, and runs what was asked for.

mod audit;
mod banner;
mod cli;
mod client;
mod config;
mod control_plane_command;
mod data_dir;
mod data_plane;
mod demo;
mod doctor;
mod endpoints;
mod event_intake;
mod governance;
mod hardening;
mod kafka;
mod keys;
mod left_journal;
mod limits;
mod listing;
mod logging;
mod login;
mod members;
mod migrate;
mod orgs;
mod policies;
mod policy;
mod profiles;
mod projects;
mod proxy_command;
mod quotas;
mod secrets;
mod serve;
mod signals;
mod simulate;
mod startup;
mod table;
mod teams;
mod terminal;
mod tokens;
mod trust;
mod usage;
mod wiring;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::cli::{Cli, Command};
use crate::client::Client;
use crate::config::{Config, Environment};

fn main() -> ExitCode {
    match run(Cli::parse(), &Environment::capture()) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS, // `mindweave usage | head` has seen enough
        Err(error) => {
            // A closed stderr leaves only the exit code to tell of the failure.
            drop(writeln!(io::stderr(), "mindweave: {}", chain(&error)));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli, environment: &Environment) -> anyhow::Result<ExitCode> {
    let config = Config::load(cli.config.as_deref(), environment);
    let mut out = io::stdout();
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&config?, environment, cli.config.as_deref(), &mut out)?,
        Command::Proxy => proxy_command::run(&config?, environment, &mut out)?,
        Command::ControlPlane => control_plane_command::run(&config?, environment, &mut out)?,
        Command::Demo(options) => demo::run(&options, &mut out)?,
        Command::Simulate(options) => simulate::run(options, &mut out)?,
        Command::Login(options) => login::login(&options, config, &mut out)?,
        Command::Logout { profile } => login::logout(profile.as_deref(), &mut out)?,
        Command::Whoami(options) => {
            login::who_am_i(&options, &Client::new(&options.server, config)?, &mut out)?;
        }
        Command::Profiles { action } => profiles::run(&action, &mut out)?,
        Command::Tokens { server, action } => {
            tokens::run(&action, &Client::new(&server, config)?, &mut out)?;
        }
        Command::Orgs { server, action } => orgs::run(&action, &Client::new(&server, config)?, &mut out)?,
        Command::Teams { server, action } => teams::run(&action, &Client::new(&server, config)?, &mut out)?,
        Command::Members { server, action } => {
            members::run(&action, &Client::new(&server, config)?, &mut out)?;
        }
        Command::Policies { server, action } => {
            policies::run(&action, &Client::new(&server, config)?, &mut out)?;
        }
        Command::Quotas { server, action } => {
            quotas::run(&action, &Client::new(&server, config)?, &mut out)?;
        }
        Command::Limits { server, action } => {
            limits::run(&action, &Client::new(&server, config)?, &mut out)?;
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "mindweave", &mut out);
        }
        Command::Projects { server, action } => {
            projects::run(&action, &Client::new(&server, config)?, environment, &mut out)?;
        }
        Command::Keys { server, action } => keys::run(&action, &Client::new(&server, config)?, &mut out)?,
        Command::Usage(options) => usage::run(&options, &Client::new(&options.server, config)?, &mut out)?,
        Command::Migrate { action } => return migrate::run(&config?, &action, &mut out),
        Command::Policy { action } => return policy::run(action, &mut out),
        Command::Audit { action } => return audit::run(&action, &mut out),
        Command::Secrets { action } => return secrets::run(config, environment, &action, &mut out),
        Command::Config => config::template::print(&mut out)?,
        Command::Doctor { role, json } => {
            let worst = doctor::run(config, environment, role, json, &mut out)?;
            return Ok(if worst == doctor::Status::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An error with its causes, one after the other.
fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Whether the reader of our output went away.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.into_iter().any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
