//! What may be imported, linked once per engine; and what only few components import, linked for
//! those.

use std::borrow::Cow;

use wasmtime::component::Linker;
use wasmtime::{Engine, component};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, sockets};

use crate::config::Kind;
use crate::guest::Guest;
use crate::http;
use crate::wasi::p2::{HasFiles, HasSockets};
use crate::wasi::{config, keyvalue, logging, p1, p3, pod, random};

/// Everything that a component may import: WASI 0.2, and 0.3 beside it where the engine knows it.
/// A program of WASI 0.3 imports both, for its language's library is one of 0.2.
///
/// # Errors
/// When two definitions clash, which is a defect of ours.
pub(crate) fn for_components(
    engine: &Engine,
    kind: Kind,
) -> wasmtime::Result<component::Linker<Guest>> {
    let mut linker = Linker::new(engine);
    add_0_2(&mut linker)?;
    if kind == Kind::Async {
        p3::add_to_linker(&mut linker)?;
    }
    Ok(linker)
}

fn add_0_2(l: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi_io::add_to_linker_async(l)?;
    add_clocks(l)?;
    random::add_to_linker(l)?;
    add_command_line(l)?;
    filesystem::types::add_to_linker::<Guest, HasFiles>(l, Guest::files_view)?;
    filesystem::preopens::add_to_linker::<Guest, HasFiles>(l, Guest::files_view)?;
    sockets::tcp::add_to_linker::<Guest, HasSockets>(l, Guest::sockets_view)?;
    sockets::tcp_create_socket::add_to_linker::<Guest, HasSockets>(l, Guest::sockets_view)?;
    sockets::udp::add_to_linker::<Guest, HasSockets>(l, Guest::sockets_view)?;
    sockets::udp_create_socket::add_to_linker::<Guest, HasSockets>(l, Guest::sockets_view)?;
    sockets::instance_network::add_to_linker::<Guest, HasSockets>(l, Guest::sockets_view)?;
    sockets::ip_name_lookup::add_to_linker::<Guest, HasSockets>(l, Guest::sockets_view)?;
    let mut options = sockets::network::LinkOptions::default();
    options.network_error_code(true);
    sockets::network::add_to_linker::<Guest, HasSockets>(l, &options, Guest::sockets_view)?;
    pod::add_to_linker(l)
}

/// The same, and `wasi:http`.
///
/// # Errors
/// When two definitions clash, which is a defect of ours.
pub(crate) fn for_http(engine: &Engine, kind: Kind) -> wasmtime::Result<component::Linker<Guest>> {
    let mut linker = for_components(engine, kind)?;
    http::add_to_linker(&mut linker, kind)?;
    Ok(linker)
}

/// Adds what one package provides.
type Add = fn(&mut Linker<Guest>) -> wasmtime::Result<()>;

/// What is linked for components that import some of it only: the start of all others costs nothing
/// for it.
const ASKED_FOR: [(&str, Add); 3] = [
    ("wasi:config/", config::add_to_linker),
    ("wasi:keyvalue/", keyvalue::add_to_linker),
    ("wasi:logging/", logging::add_to_linker),
];

/// A linker with what these imports ask for besides what it has, whichever WASI that is.
///
/// # Errors
/// When two definitions clash, which is a defect of ours.
pub(crate) fn with_asked_for<'l>(
    linker: &'l component::Linker<Guest>,
    imports: &[String],
) -> wasmtime::Result<Cow<'l, component::Linker<Guest>>> {
    let mut linker = Cow::Borrowed(linker);
    for (package, add) in ASKED_FOR {
        if imports.iter().any(|import| import.starts_with(package)) {
            add(linker.to_mut())?;
        }
    }
    Ok(linker)
}

/// Everything that a preview 1 module may import.
///
/// # Errors
/// When two definitions clash, which is a defect of ours.
pub(crate) fn for_modules(engine: &Engine) -> wasmtime::Result<wasmtime::Linker<Guest>> {
    let mut linker = wasmtime::Linker::new(engine);
    p1::add_to_linker(&mut linker)?;
    Ok(linker)
}

fn add_clocks(l: &mut Linker<Guest>) -> wasmtime::Result<()> {
    clocks::wall_clock::add_to_linker::<Guest, WasiClocks>(l, Guest::clocks)?;
    clocks::monotonic_clock::add_to_linker::<Guest, WasiClocks>(l, Guest::clocks)
}

fn add_command_line(l: &mut Linker<Guest>) -> wasmtime::Result<()> {
    cli::exit::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::environment::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::stdin::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::stdout::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::stderr::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_input::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_output::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<Guest, WasiCli>(l, Guest::cli)
}

#[cfg(test)]
mod tests;
