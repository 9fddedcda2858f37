//! The command line.

mod image;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::image::{
    Export, Image, ImageCommand, Import, Inspect, Ls, Pack, Pull, Push, Rm, Tag,
};

/// Kubernetes pods whose containers are WebAssembly.
#[derive(Debug, Parser)]
#[command(name = "wasmpod", version, about, propagate_version = true)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Where images, compiled code and pods' files lie.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Tell more of what wasmpod does; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// The form of wasmpod's own messages.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// The form of wasmpod's own messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// An object per line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run pods in the foreground, until every container that is not a sidecar has ended.
    Run(Run),
    /// Images: pull, push, pack, list, tag, remove, inspect, import, export.
    Image(Image),
    /// Print the version.
    Version,
    /// Be a pod host: takes orders on standard input.
    #[command(hide = true)]
    PodHost(PodHost),
}

/// `wasmpod pod-host`, which only wasmpod itself starts.
#[derive(Debug, Args)]
pub(crate) struct PodHost {
    /// What it may read.
    #[arg(long)]
    pub(crate) read: Vec<PathBuf>,
    /// What it may change.
    #[arg(long)]
    pub(crate) write: Vec<PathBuf>,
    /// Whether its parent steers connections to its pods.
    #[arg(long)]
    pub(crate) steered: bool,
    /// Where its volumes in memory lie.
    #[arg(long)]
    pub(crate) memory_dir: Option<PathBuf>,
}

/// `wasmpod run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A manifest: a YAML or JSON file, a directory of them, or - for standard input. May be
    /// given several times.
    #[arg(
        short,
        long = "filename",
        value_name = "FILE",
        conflicts_with = "image"
    )]
    pub(crate) filename: Vec<String>,
    /// An image or a wasm file to run as a pod of its own, which is not restarted. An image that is here
    /// may be named by its digest, or by at least the first 12 digits of one.
    #[arg(value_name = "IMAGE_OR_WASM")]
    pub(crate) image: Option<String>,
    /// Arguments for it, after --.
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
    /// A variable of its environment.
    #[arg(long, value_name = "K=V", conflicts_with = "filename", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// A directory or file of this machine at a path of the container.
    #[arg(long, value_name = "HOST:GUEST[:ro]", conflicts_with = "filename")]
    pub(crate) dir: Vec<String>,
    /// A port of this machine that leads to a port of the pod.
    #[arg(long, value_name = "HOST:CONTAINER[/udp]", conflicts_with = "filename")]
    pub(crate) publish: Vec<String>,
    /// The most CPU it may use, for example 500m or 2.
    #[arg(long, value_name = "QUANTITY", conflicts_with = "filename", value_parser = quantity)]
    pub(crate) cpu: Option<String>,
    /// The most memory it may use, for example 64Mi.
    #[arg(long, value_name = "QUANTITY", conflicts_with = "filename", value_parser = memory)]
    pub(crate) memory: Option<String>,
    /// The pod's own network, or this machine's as it is.
    #[arg(long, value_enum, conflicts_with = "filename", default_value_t = Network::Pod)]
    pub(crate) network: Network,
    /// Print an object per line instead of text.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
    /// Print containers' output as it is, without prefix, and control characters too.
    #[arg(long)]
    pub(crate) raw: bool,
    /// Where the pods run.
    #[arg(long, value_enum, hide = true, default_value_t = Placement::Task)]
    pub(crate) placement: Placement,
}

/// Whose network a pod has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// Its own.
    Pod,
    /// This machine's.
    Host,
}

/// The form of what `run` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// An object per line.
    Json,
}

/// Where pods run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Placement {
    /// In this process.
    Task,
    /// In child processes, as many as hold them.
    Child,
    /// In a child process for each pod.
    ChildPerPod,
}

/// A limit that lets something run.
fn quantity(text: &str) -> Result<String, String> {
    let quantity: model::Quantity = text
        .parse()
        .map_err(|e: model::quantity::NotAQuantity| e.to_string())?;
    if quantity.milli() <= 0 {
        return Err("a limit must be greater than 0".to_owned());
    }
    Ok(text.to_owned())
}

/// A limit of memory that lets something run: whoever writes `64m` has another program's units in
/// mind.
fn memory(text: &str) -> Result<String, String> {
    let text = quantity(text)?;
    match model::quantity::odd_for_bytes(&text) {
        Some(why) => Err(why),
        None => Ok(text),
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}
