//! The coordinator: one binary with every worker and tool.

mod admin;
mod cli;
mod commands;
mod config;
#[cfg(test)]
mod described;
mod open_files;
mod presence;
mod price_feed;
mod reload;
mod signals;
mod store;
mod telemetry;
mod waiting;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, ConfigCommand, RoundCommand};
use config::ConfigError;
use storage::Action;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bad usage or configuration.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start(&default_log_filter(&cli.command), cli.log_as.as_deref());
    if holds_many_connections(&cli.command) {
        open_files::raise_limit();
    }
    if let Command::ModelHost(_) = &cli.command
        && let Err(error) = orchestrator::limits::stay_this_user()
    {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    // As a task of its own it runs on the workers' threads: what it waits for need not wake another thread.
    let outcome =
        runtime.block_on(async { tokio::spawn(run(cli)).await.unwrap_or_else(|error| Err(error.into())) });
    // Blocking leftovers, such as a read of standard input, must not hold up the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            exit_code(&error)
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let shutdown = signals::shutdown(cli.exit_with_parent)?;
    match cli.command {
        Command::Up(args) => commands::up::run(args, shutdown).await,
        Command::Predict(args) => commands::predict::run(args, shutdown).await,
        Command::Score(args) => commands::score::run(args, shutdown).await,
        Command::Report(args) => commands::report::run(args, shutdown).await,
        Command::Orchestrator(args) => commands::orchestrator::run(args, shutdown).await,
        Command::Models(args) => {
            let done = shutdown.run_until_cancelled(commands::models::run(args)).await;
            done.unwrap_or(Ok(()))
        }
        Command::ModelHost(args) => commands::model_host::run(args, shutdown).await,
        Command::Replay(args) => commands::replay::run(args, shutdown).await,
        Command::Backtest(args) => commands::backtest::run(args, shutdown).await,
        Command::WhatIf(args) => commands::what_if::run(args, shutdown).await,
        Command::Probe(args) => {
            let done = shutdown.run_until_cancelled(commands::probe::run(args)).await;
            done.unwrap_or_else(|| Err(anyhow::anyhow!("stopped")))
        }
        Command::Eval { mode } => {
            let done = shutdown.run_until_cancelled(commands::eval::run(mode)).await;
            done.unwrap_or_else(|| Err(anyhow::anyhow!("stopped")))
        }
        Command::Round(RoundCommand::Void { id, order }) => {
            commands::operator::run(Action::VoidRound(id), order).await
        }
        Command::Round(RoundCommand::Rescore { id, order }) => {
            commands::operator::run(Action::RescoreRound(id), order).await
        }
        Command::Pause(order) => commands::operator::run(Action::Pause, order).await,
        Command::Resume(order) => commands::operator::run(Action::Resume, order).await,
        Command::Audit(args) => commands::operator::audit(args).await,
        Command::Db(command) => {
            let done = shutdown.run_until_cancelled(commands::db::run(command)).await;
            done.unwrap_or_else(|| Err(anyhow::anyhow!("stopped")))
        }
        Command::Feeds(command) => {
            let done = shutdown.run_until_cancelled(commands::feeds::run(command)).await;
            done.unwrap_or_else(|| Err(anyhow::anyhow!("stopped")))
        }
        Command::Config(ConfigCommand::Check { settings, json }) => commands::config::check(&settings, json),
    }
}

/// Tools keep quiet, workers tell what they do. A replay accounts for missed and void rounds in its summary, and a probe
/// tells of each model by itself.
fn default_log_filter(command: &Command) -> String {
    match command {
        Command::Replay(_) | Command::Up(_) => {
            format!("warn,{}=error,{}=error", predict_worker::MISSED, score_worker::VOID)
        }
        // What becomes of its one model is told at the end, with what to do about it.
        Command::Backtest(_) => "error,orchestrator=off".to_owned(),
        Command::Probe(_) => "warn,model_client=error".to_owned(),
        Command::Eval { .. }
        | Command::Db(_)
        | Command::WhatIf(_)
        | Command::Config(_)
        | Command::Feeds(_)
        | Command::Models(_)
        | Command::Round(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::Audit(_) => "warn".to_owned(),
        _ => "info".to_owned(),
    }
}

fn holds_many_connections(command: &Command) -> bool {
    matches!(
        command,
        Command::Up(_)
            | Command::Predict(_)
            | Command::Orchestrator(_)
            | Command::Replay(_)
            | Command::Backtest(_)
            | Command::Probe(_)
    )
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    let is_usage = error.chain().any(|cause| {
        cause.is::<ConfigError>()
            || cause.is::<commands::UsageError>()
            || matches!(cause.downcast_ref(), Some(storage::StorageError::InvalidUrl { .. }))
    });
    if is_usage { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
}
