//! WASI 0.3: what a component may import beside 0.2 when it is concurrent in itself.

mod files;
mod outcome;
mod pod;
mod sockets;
mod stdio;

use wasmtime::component::Linker;
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::p3::bindings::{cli, clocks};

use super::random;
use crate::guest::Guest;

/// Adds every interface.
///
/// # Errors
/// When two definitions clash, which is a defect of ours.
pub(crate) fn add_to_linker(l: &mut Linker<Guest>) -> wasmtime::Result<()> {
    add_clocks(l)?;
    random::add_0_3_to_linker(l)?;
    add_command_line(l)?;
    files::add_to_linker(l)?;
    sockets::add_to_linker(l)?;
    pod::add_to_linker(l)
}

fn add_clocks(l: &mut Linker<Guest>) -> wasmtime::Result<()> {
    clocks::system_clock::add_to_linker::<Guest, WasiClocks>(l, Guest::clocks)?;
    clocks::monotonic_clock::add_to_linker::<Guest, WasiClocks>(l, Guest::clocks)
}

fn add_command_line(l: &mut Linker<Guest>) -> wasmtime::Result<()> {
    cli::exit::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::environment::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    stdio::add_to_linker(l)?;
    cli::terminal_input::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_output::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<Guest, WasiCli>(l, Guest::cli)
}
