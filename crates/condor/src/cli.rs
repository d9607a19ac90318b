//! The command line.

use std::fmt;
use std::net::{AddrParseError, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::{Asset, InvalidId, InvalidSpan, ModelId, RoundId, Span, Timestamp};
use orchestrator::limits::{ByteSize, Limits};
use orchestrator::{UserRange, UsersChoice};

use crate::commands::FleetAddress;
use crate::commands::up::Feed;

/// The interpreter of submissions unless another one is named.
const DEFAULT_PYTHON: &str = "python3";

/// A coordinator for live forecasting competitions: it feeds models market prices, asks them for probability
/// distributions of what comes next, scores the answers when reality is known, and ranks the models.
///
/// `condor up` starts everything on this machine, with built-in models, and needs nothing else.
#[derive(Debug, Parser)]
#[command(name = "condor", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// End when standard input closes: for processes that another one starts.
    #[arg(long, global = true, hide = true)]
    pub exit_with_parent: bool,

    /// Log in short lines that begin with this name: for processes that share a terminal.
    #[arg(long, global = true, hide = true, value_name = "NAME")]
    pub log_as: Option<String>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything on this machine: database, orchestrator, models, the three workers, web page
    ///
    /// SIGHUP has the workers read DIR/condor.toml again.
    Up(UpArgs),
    /// Run the predict worker: prices in, questions out, predictions stored
    ///
    /// SIGHUP has it read its configuration again: schedules and limits hold from the next slot on.
    Predict(WorkerArgs),
    /// Run the score worker: scores, windows, snapshots, leaderboard
    ///
    /// SIGHUP has it read its configuration again: weights hold at once.
    Score(ScoreArgs),
    /// Run the report worker: HTTP interface and web page
    ///
    /// SIGHUP has it read its configuration again.
    Report(ReportArgs),
    /// Run the local orchestrator: starts the models of a models.yml and announces them
    Orchestrator(OrchestratorArgs),
    /// See, add, stop and start the models of a local orchestrator
    Models(ModelsArgs),
    /// Serve one model as a gRPC node (the orchestrator starts these)
    #[command(after_help = orchestrator::builtin::describe())]
    ModelHost(ModelHostArgs),
    /// Run days of prices through models and scoring in seconds, with a simulated clock
    ///
    /// One that was stopped or killed goes on where it was when it is run again with the same database.
    Replay(ReplayArgs),
    /// Play days of prices with one Python submission and the built-in models, and tell where it gains and loses
    #[command(after_help = crate::commands::backtest::EXPLANATION)]
    Backtest(BacktestArgs),
    /// Score the stored predictions by another rule, weights or windows, without writing: the leaderboard before and after
    #[command(after_help = crate::commands::what_if::EXAMPLES)]
    WhatIf(WhatIfArgs),
    /// Call every model of an orchestrator with made-up prices and questions, and tell what came of it and what it cost
    #[command(after_help = crate::commands::probe::EXPLANATION)]
    Probe(ProbeArgs),
    /// Evaluate distributions: JSON Lines on standard input, one line of JSON for each on standard output
    #[command(after_help = crate::commands::eval::examples())]
    Eval {
        /// What each line holds and what is wanted of it
        #[arg(value_enum)]
        mode: EvalMode,
    },
    /// Void a round by hand, or have it scored again
    #[command(subcommand)]
    Round(RoundCommand),
    /// Ask no rounds from the next slot on; slots are recorded as missed
    Pause(OrderArgs),
    /// Ask rounds again
    Resume(OrderArgs),
    /// List what operators did: who, when and why
    Audit(AuditArgs),
    /// Look after the database
    #[command(subcommand)]
    Db(DbCommand),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at the sources of prices
    #[command(subcommand)]
    Feeds(FeedsCommand),
}

/// Which configuration and database.
#[derive(Debug, Clone, Args)]
pub struct SettingsArgs {
    /// Configuration file [default: condor.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Database: sqlite://FILE or postgres://USER@HOST:PORT/NAME [also DATABASE_URL, CONDOR_DATABASE__URL]
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
}

/// `condor predict`
#[derive(Debug, Args)]
pub struct WorkerArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// Serve /healthz, /readyz and /metrics on this address [default: off]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,
}

/// `condor score`
#[derive(Debug, Args)]
pub struct ScoreArgs {
    #[command(flatten)]
    pub worker: WorkerArgs,

    /// Score what is due, then exit
    #[arg(long)]
    pub once: bool,

    /// Tell how the score of one prediction came about, without writing; condor db export scores prints the ids
    #[arg(long, value_name = "ROUND_ID/MODEL_ID", conflicts_with_all = ["once", "admin_listen"])]
    pub explain: Option<PredictionId>,

    /// Print the explanation as one JSON object
    #[arg(long, requires = "explain")]
    pub json: bool,
}

/// One model's part in one round, written `ROUND_ID/MODEL_ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictionId {
    /// Which round.
    pub round_id: RoundId,
    /// Which model.
    pub model_id: ModelId,
}

impl FromStr for PredictionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A model's id may hold slashes, a round's none.
        let (round, model) = text.split_once('/').ok_or("write ROUND_ID/MODEL_ID")?;
        let round_id = round.parse().map_err(|error: InvalidId| error.to_string())?;
        let model_id = model.parse().map_err(|error: InvalidId| error.to_string())?;
        Ok(PredictionId { round_id, model_id })
    }
}

impl fmt::Display for PredictionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.round_id, self.model_id)
    }
}

/// `condor report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// Address and port of the page and the API [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,

    /// Serve /healthz, /readyz and /metrics on this address too, to whoever reaches it [default: off]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,
}

/// `condor orchestrator`
#[derive(Debug, Args)]
pub struct OrchestratorArgs {
    /// The list of models, watched for changes
    #[arg(long, value_name = "FILE", default_value = "models.yml")]
    pub models: PathBuf,

    /// Where coordinators connect (WebSocket)
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9091")]
    pub listen: SocketAddr,

    /// The competition's id
    #[arg(long, value_name = "ID", default_value = "condor")]
    pub crunch: String,

    /// The folder of Python submissions, a folder for each
    #[arg(long, value_name = "DIR", default_value = "submissions")]
    pub submissions: PathBuf,

    /// Where models are uploaded, stopped and started (HTTP, see `condor models`); off for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8001")]
    pub deploy_listen: DeployListen,

    /// Key for whatever changes something [default: that in the file deploy-key beside the list of models, made if needed]
    #[arg(long, value_name = "KEY", env = "CONDOR_DEPLOY_KEY", hide_env_values = true)]
    pub deploy_key: Option<String>,

    /// Folder of the models' logs, two of at most 2 MiB for each [default: .logs in the folder of submissions]
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,

    /// Python interpreter for submissions, or the one to make environments with
    #[arg(long, value_name = "PROGRAM", default_value = DEFAULT_PYTHON)]
    pub python: PathBuf,

    /// Full name of the base class of submissions' models, when a caller's cannot be imported
    #[arg(long, value_name = "NAME", default_value = "crunch_synth.tracker.TrackerBase")]
    pub base_class: String,

    /// Under which users submissions run: off (the operator's), a range of user ids (their own), or auto (their own from
    /// 70000 to 79999 where this is the superuser, else the operator's)
    #[arg(long, value_name = "USERS", default_value = "auto")]
    pub submission_users: UsersChoice,

    /// Where submissions with users of their own have their homes; every user must be able to reach it
    #[arg(long, value_name = "DIR", default_value = "/var/lib/condor/submissions")]
    pub submission_homes: PathBuf,

    #[command(flatten)]
    pub limits: LimitArgs,
}

/// An address, or `off`.
#[derive(Debug, Clone, Copy)]
pub enum DeployListen {
    /// Here.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

impl FromStr for DeployListen {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" { Ok(DeployListen::Off) } else { text.parse().map(DeployListen::At) }
    }
}

/// What each process of a submission may take.
#[derive(Debug, Clone, Copy, Args)]
pub struct LimitArgs {
    /// Address space of each process of a submission, such as 512MiB [an orchestrator's default: 4GiB]
    #[arg(long, value_name = "SIZE")]
    pub max_memory: Option<ByteSize>,

    /// Processor time of each process of a submission over its life [an orchestrator's default: 24h]
    #[arg(long, value_name = "SPAN")]
    pub max_cpu_time: Option<Span>,

    /// Open files of each process of a submission [an orchestrator's default: 1024]
    #[arg(long, value_name = "N")]
    pub max_open_files: Option<u64>,

    /// Processes and threads of a submission together, where it has a user of its own [an orchestrator's default: 512]
    #[arg(long, value_name = "N")]
    pub max_processes: Option<u64>,
}

impl From<LimitArgs> for Limits {
    fn from(args: LimitArgs) -> Self {
        Limits {
            memory: args.max_memory,
            cpu_time: args.max_cpu_time,
            open_files: args.max_open_files,
            processes: args.max_processes,
        }
    }
}

/// `condor models`
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// The orchestrator's deploy API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8001", global = true)]
    pub url: String,

    /// File with the deploy key, unless CONDOR_DEPLOY_KEY has it [default: deploy-key, or condor-data/deploy-key]
    #[arg(long, value_name = "FILE", global = true)]
    pub key_file: Option<PathBuf>,

    #[command(subcommand)]
    pub command: ModelsCommand,
}

/// What can be done with models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Show every model, what it is doing, and why
    List {
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Upload a submission as a new model and print its id
    Add {
        /// A notebook (.ipynb), a main.py, or a folder with one of them; requirements.txt beside main.py goes with it
        path: PathBuf,
        #[command(flatten)]
        names: ModelNames,
        /// Do not start it yet
        #[arg(long)]
        stopped: bool,
    },
    /// Give a model new code, new names, or both; the old code runs until the new can be called
    Update {
        /// Its id in the list
        id: String,
        /// The new code, as for `add`
        #[arg(required_unless_present_any = ["name", "cruncher_name", "cruncher_id"])]
        path: Option<PathBuf>,
        #[command(flatten)]
        names: ModelNames,
    },
    /// Stop a model and remove it from the list, with what was uploaded for it
    Remove {
        /// Its id in the list
        id: String,
    },
    /// Stop a model; it stays in the list
    Stop {
        /// Its id in the list
        id: String,
    },
    /// Start a model that was stopped, has failed or is quarantined
    Start {
        /// Its id in the list
        id: String,
    },
    /// Leave a model out of the leaderboard; it is asked and scored on, and nobody else's score changes
    Exclude {
        /// Its id on the leaderboard
        id: ModelId,
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Put a model that was excluded back on the leaderboard
    Include {
        /// Its id on the leaderboard
        id: ModelId,
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Print what a model says
    Logs {
        /// Its id in the list
        id: String,
        /// What was said while it was built instead
        #[arg(long)]
        builder: bool,
        /// Stay and print what is added
        #[arg(long, short)]
        follow: bool,
        /// All that is kept, not only the end
        #[arg(long)]
        from_start: bool,
    },
}

/// What a model is called.
#[derive(Debug, Args)]
pub struct ModelNames {
    /// The model's name on the leaderboard
    #[arg(long)]
    pub name: Option<String>,
    /// Whose model it is
    #[arg(long)]
    pub cruncher_name: Option<String>,
    /// Who that is, for good: any text
    #[arg(long)]
    pub cruncher_id: Option<String>,
}

/// What goes on record with an operator's order.
#[derive(Debug, Clone, Args)]
pub struct OrderArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// Why: everybody can read it
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,

    /// Who orders it [default: the user of the operating system]
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub by: Option<String>,
}

/// `condor round`
#[derive(Debug, Subcommand)]
pub enum RoundCommand {
    /// Take a round and its scores out of the competition; no change of the rule brings them back
    Void {
        /// Its id: condor db export rounds prints them
        id: RoundId,
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Score a round again, from the predictions and prices as they are now; also one that was voided by hand
    Rescore {
        /// Its id: condor db export rounds prints them
        id: RoundId,
        #[command(flatten)]
        order: OrderArgs,
    },
}

/// `condor audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// At most so many, the newest first
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,

    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// `condor model-host`
#[derive(Debug, Args)]
pub struct ModelHostArgs {
    #[command(flatten)]
    pub served: ServedModel,

    /// Address of the gRPC server; port 0 picks one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    #[command(flatten)]
    pub security: NodeSecurityArgs,

    #[command(flatten)]
    pub submission: SubmissionArgs,
}

/// Which model a host serves.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ServedModel {
    /// A built-in model: NAME or NAME:key=value,… as listed below
    #[arg(long, value_name = "SPEC")]
    pub builtin: Option<String>,

    /// A Python submission: a folder with main.py or a notebook, and requirements.txt if it needs packages
    #[arg(long, value_name = "DIR")]
    pub submission: Option<PathBuf>,
}

/// How a Python submission is run.
#[derive(Debug, Args)]
pub struct SubmissionArgs {
    /// Full name of the base class of the submission's model, when the caller's cannot be imported
    #[arg(
        long,
        value_name = "NAME",
        default_value = "crunch_synth.tracker.TrackerBase",
        conflicts_with = "builtin"
    )]
    pub base_class: String,

    /// Python interpreter, or the one to make environments with
    #[arg(long, value_name = "PROGRAM", default_value = DEFAULT_PYTHON, conflicts_with = "builtin")]
    pub python: PathBuf,

    /// A call that takes longer gets the submission's process killed; the next Setup starts it afresh
    #[arg(long, value_name = "SPAN", default_value = "120s", conflicts_with = "builtin")]
    pub call_limit: Span,

    /// End when the submission's process has died or was killed, and leave the fresh start to an orchestrator
    #[arg(long, conflicts_with = "builtin")]
    pub exit_with_model: bool,

    /// Where virtual environments are kept [default: .environments beside the submission]
    #[arg(long, value_name = "DIR", conflicts_with = "builtin")]
    pub environments: Option<PathBuf>,

    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Who may call a model host; anybody who reaches its port unless one of these is given.
#[derive(Debug, Args)]
pub struct NodeSecurityArgs {
    /// Mutual TLS: a folder with tls.crt, tls.key, delegation.json (from `crunch-certificate sign`) and coordinator-keys
    #[arg(long, value_name = "DIR", conflicts_with = "gateway_keys")]
    pub tls_dir: Option<PathBuf>,

    /// Behind a gateway that ends TLS: take calls with a token by one of the keys in this file, a SHA-256 per line
    #[arg(long, value_name = "FILE", requires = "model_id")]
    pub gateway_keys: Option<PathBuf>,

    /// The model that tokens have to be for
    #[arg(long, value_name = "ID", requires = "gateway_keys")]
    pub model_id: Option<String>,

    /// Take no connections of processes of these users on this machine, such as 70000-79999: an orchestrator's submissions
    #[arg(long, value_name = "RANGE")]
    pub closed_to_users: Option<UserRange>,
}

/// `condor replay`
#[derive(Debug, Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,

    #[command(flatten)]
    pub source: ReplaySource,

    /// First slot [default: where the prices of all assets begin]
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,

    /// End: slots before it are asked, and the leaderboard is as of it [default: where prices end]
    #[arg(long, value_name = "TIME")]
    pub to: Option<Timestamp>,

    /// Only these assets, separated by commas [default: those of the schedules that have prices]
    #[arg(long, value_name = "ASSETS", value_delimiter = ',')]
    pub assets: Vec<Asset>,

    #[command(flatten)]
    pub models: ReplayModels,

    /// Print one JSON object per line on standard output; the last is the summary
    #[arg(long)]
    pub json: bool,

    /// Also write a page to this file: leaderboard, scores over time, and what became of the rounds and why
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
}

/// Where a replay's prices come from.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct ReplaySource {
    /// Folder of recorded prices: ASSET-….csv, .csv.gz or .parquet with the columns timestamp and price
    #[arg(long, value_name = "DIR")]
    pub prices: Option<PathBuf>,

    /// Database of a competition whose recorded prices are replayed; it is only read
    #[arg(long, value_name = "URL")]
    pub ledger: Option<String>,
}

/// Which models a replay asks.
#[derive(Debug, Clone, Args)]
pub struct ReplayModels {
    /// Ask the models of this orchestrator instead of built-in ones
    #[arg(long, value_name = "ws://HOST:PORT/CRUNCH", conflicts_with_all = ["models", "add_model", "submission"])]
    pub orchestrator: Option<FleetAddress>,

    /// How many built-in models are started
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub models: usize,

    /// One more built-in model, such as random-walk:scale=10 (condor model-host --help lists them); may be repeated
    #[arg(long, value_name = "SPEC")]
    pub add_model: Vec<String>,

    /// Also ask a Python submission: a folder with main.py or a notebook, and requirements.txt if it needs packages; may be
    /// repeated. It runs in a process of its own, with your rights
    #[arg(long, value_name = "PATH")]
    pub submission: Vec<PathBuf>,

    /// Python interpreter for submissions, or the one to make environments with
    #[arg(long, value_name = "PROGRAM", default_value = DEFAULT_PYTHON, requires = "submission")]
    pub python: PathBuf,

    /// Folder for what submissions print [default: it is not kept]
    #[arg(long, value_name = "DIR", requires = "submission")]
    pub logs: Option<PathBuf>,

    /// Do it although the orchestrator is not on this machine: its models will be sent past prices
    #[arg(long, requires = "orchestrator")]
    pub yes: bool,
}

impl ReplayModels {
    /// Built-in models alone.
    pub fn built_in(models: usize) -> Self {
        ReplayModels {
            orchestrator: None,
            models,
            add_model: Vec::new(),
            submission: Vec::new(),
            python: DEFAULT_PYTHON.into(),
            logs: None,
            yes: false,
        }
    }
}

/// `condor backtest`
#[derive(Debug, Args)]
pub struct BacktestArgs {
    /// A folder with main.py or a notebook, and requirements.txt if it needs packages; or that main.py or notebook
    #[arg(value_name = "SUBMISSION")]
    pub submission: PathBuf,

    /// Folder of recorded prices: ASSET-….csv, .csv.gz or .parquet with the columns timestamp and price [default: a simulated market]
    #[arg(long, value_name = "DIR")]
    pub prices: Option<PathBuf>,

    /// How many days are played
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,

    /// Play the days before this instant [default: the last ones for which there are prices]
    #[arg(long, value_name = "TIME", requires = "prices")]
    pub to: Option<Timestamp>,

    /// Another simulated market: the same seed gives the same prices
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "prices")]
    pub seed: u64,

    /// Only these assets, separated by commas [default: those of the schedules that have prices]
    #[arg(long, value_name = "ASSETS", value_delimiter = ',')]
    pub assets: Vec<Asset>,

    /// Configuration file: schedules, limits, scoring [default: condor.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Python interpreter, or the one to make the environment with
    #[arg(long, value_name = "PROGRAM", default_value = DEFAULT_PYTHON)]
    pub python: PathBuf,

    /// Keep the database and what the submission printed in this folder, which must be new [default: they are not kept]
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,

    /// Print one JSON object per asset and horizon, and one with the summary
    #[arg(long)]
    pub json: bool,
}

/// `condor what-if`
#[derive(Debug, Args)]
pub struct WhatIfArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// Score by this rule [default: that of the configuration, whose other settings of scoring hold as well]
    #[arg(long, value_name = "RULE")]
    pub rule: Option<String>,

    /// Have an asset count so much in windows, such as XAU=0.5; may be repeated
    #[arg(long, value_name = "ASSET=WEIGHT")]
    pub asset_weight: Vec<WeightOf<Asset>>,

    /// Have a horizon count so much in windows, such as 24h=2; may be repeated
    #[arg(long, value_name = "HORIZON=WEIGHT")]
    pub horizon_weight: Vec<WeightOf<Span>>,

    /// Windows of these lengths in whole hours, the shortest first [default: 24h,72h,168h]
    #[arg(long, value_name = "SPANS", value_delimiter = ',')]
    pub windows: Vec<Span>,

    /// The newest leaderboard up to this instant instead of the newest one
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<Timestamp>,

    /// Print one JSON object per model on standard output, and one that tells how it came about
    #[arg(long)]
    pub json: bool,
}

/// How much something counts, written `WHAT=WEIGHT`.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightOf<T> {
    /// What.
    pub of: T,
    /// How much; the configuration's check says which weights there are.
    pub weight: f64,
}

impl<T: FromStr<Err: fmt::Display>> FromStr for WeightOf<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (of, weight) = text.split_once('=').ok_or("write WHAT=WEIGHT")?;
        let of = of.parse().map_err(|error: T::Err| error.to_string())?;
        let weight = weight.parse().map_err(|_| format!("`{weight}` is no number"))?;
        Ok(WeightOf { of, weight })
    }
}

/// `condor probe`
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Configuration file: security and base class of the models [default: condor.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Whose models are called
    #[arg(long, value_name = "ws://HOST:PORT/CRUNCH")]
    pub orchestrator: FleetAddress,

    /// How many questions each model is asked, one after the other
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rounds: u32,

    /// Assets of the prices and, in turn, of the questions, separated by commas
    #[arg(long, value_name = "ASSETS", value_delimiter = ',', default_value = "BTC")]
    pub assets: Vec<Asset>,

    /// How far ahead is asked, in seconds or as 24h
    #[arg(long, value_name = "SECONDS", default_value = "86400", value_parser = seconds)]
    pub horizon: Span,

    /// The spacing of the answers within the horizon, in seconds or as 5m
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub step: Span,

    /// Size of the history that each model is told, in megabytes (1,000,000 bytes) of JSON
    #[arg(long, value_name = "MB", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub tick_mb: u32,

    /// How long each call may take, Setup included
    #[arg(long, value_name = "SPAN", default_value = "60s")]
    pub timeout: Span,

    /// Print one JSON object per phase on standard output
    #[arg(long)]
    pub json: bool,

    /// Do it although the orchestrator is not on this machine: its models will be sent made-up prices
    #[arg(long)]
    pub yes: bool,
}

/// A whole number of seconds, or a span with its unit.
fn seconds(text: &str) -> Result<Span, InvalidSpan> {
    text.parse().map(Span::seconds).or_else(|_| text.parse())
}

/// `condor up`
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = "./condor-data")]
    pub data_dir: PathBuf,

    /// Port of the web page and the API
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    pub port: u16,

    /// Port of the orchestrator
    #[arg(long, value_name = "PORT", default_value_t = 9091)]
    pub orchestrator_port: u16,

    /// Port of the deploy API (see `condor models`)
    #[arg(long, value_name = "PORT", default_value_t = 8001)]
    pub deploy_port: u16,

    /// Play recorded prices from this folder
    #[arg(long, value_name = "DIR", conflicts_with = "feed")]
    pub prices: Option<PathBuf>,

    /// Where prices come from: binance, coinbase or crunchdao, at their public address or another one, or simulated [default: the
    /// first two, as far as they answer within two seconds, else simulated]
    #[arg(long, value_name = "NAME[=ADDRESS]")]
    pub feed: Option<Feed>,

    /// How much is replayed before live operation, so that the leaderboard is full at once [default: 8d]
    #[arg(long, value_name = "SPAN")]
    pub warm_up: Option<Span>,

    /// How many built-in models are started [default: 5]
    #[arg(long, value_name = "N")]
    pub models: Option<usize>,

    /// Remove what an earlier run left in DIR, rounds and scores included, and begin anew; submissions stay
    #[arg(long)]
    pub reset: bool,

    /// Show the page in the browser
    #[arg(long)]
    pub open: bool,
}

/// `condor db`
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Bring the schema up to date
    Migrate(SettingsArgs),
    /// Count what is stored
    Status {
        #[command(flatten)]
        settings: SettingsArgs,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove what is older than the settings keep ([retention]); the score worker does so every hour by itself
    #[command(after_help = crate::commands::prune::EXPLANATION)]
    Prune(PruneArgs),
    /// Print stored rows, one JSON object per line: all that is needed to recompute every score outside
    Export {
        /// What to print
        #[arg(value_enum)]
        what: ExportKind,
        #[command(flatten)]
        settings: SettingsArgs,
        /// Rounds asked at or after this instant (for prices: closes)
        #[arg(long, value_name = "TIME")]
        from: Option<Timestamp>,
        /// Rounds asked before this instant (for prices: closes)
        #[arg(long, value_name = "TIME")]
        to: Option<Timestamp>,
        /// One JSON object per line; the only format there is
        #[arg(long)]
        json: bool,
    },
}

/// `condor db prune`
#[derive(Debug, Args)]
pub struct PruneArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// Say what would go, and remove nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print one JSON object for each kind of what is stored, and a summary
    #[arg(long)]
    pub json: bool,
}

/// What can be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportKind {
    /// Every round, its state and how its predictions ended
    Rounds,
    /// Every prediction, with the answer as the model sent it
    Predictions,
    /// Every score, raw and relative
    Scores,
    /// The ledger, in the order of storing
    Prices,
    /// The window scores behind the newest leaderboard, per model and parameter
    Windows,
    /// The newest leaderboard
    Leaderboard,
    /// From when on which rule and settings of scoring were in force
    ScoringChanges,
}

/// What `condor eval` reads and writes. Every line may have an `id`, which its output repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EvalMode {
    /// spec, x → pdf, cdf, sf
    Density,
    /// x and one of: spec; buckets; samples, with weights or without; levels and values → crps, exact
    Crps,
    /// spec, x, t_min, t_max, num_points → crps as the integral over a grid
    Grid,
    /// kind (density, bucket, samples, quantiles), raw (the text as a model sent it) → valid, reason
    Validate,
    /// t0, horizon, prices, predictions by step, bounds_t, base_step, num_points → step_sums, exact_step_sums
    Prediction,
    /// crps (a list, null without a valid answer) → relative, without an outlier cap
    Round,
}

/// `condor config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the settings in force and where each came from
    Check {
        #[command(flatten)]
        settings: SettingsArgs,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
}

/// `condor feeds`
#[derive(Debug, Subcommand)]
pub enum FeedsCommand {
    /// Ask each source for each asset, and tell how fresh, how fast and how much in agreement its prices are
    #[command(after_help = crate::commands::feeds::EXPLANATION)]
    Check {
        /// Configuration file [default: condor.toml, if there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn a_prediction_is_named_by_its_round_and_its_model() {
        let name = "0196eab1-8c00-8f5c-a03c-5f7b2f9d8e21/team/model 1";
        let id: super::PredictionId = name.parse().unwrap();
        assert_eq!((id.model_id.as_str(), id.to_string().as_str()), ("team/model 1", name));
        let refused = |name: &str| name.parse::<super::PredictionId>().unwrap_err();
        assert_eq!(refused("model"), "write ROUND_ID/MODEL_ID");
        assert_eq!(refused("5/model"), "`5` is no valid round id: it is no UUID");
        assert_eq!(refused("0196eab1-8c00-8f5c-a03c-5f7b2f9d8e21/"), "`` is no valid model id: it is empty");
    }
}
