//! `wasi:http` 0.2 and 0.3: containers that are servers, and guests that call out. Only `p2` and `p3`
//! know which.
//!
//! ```text
//!   PodNet ── listener ── Server: accepts ──> connection (one executor task each, hyper inside)
//!                                                └─ request ──> a guest of its own, or a kept one
//!                                                      └─ after the head of the answer: a task of its own
//!   guest ── outgoing-handler ── Hooks ──> exchange (one executor task each, hyper inside) ── PodNet
//! ```
//!
//! All of it runs on the guests' threads and is charged to the container, the parsing of bytes that
//! strangers send too. wasmtime-wasi-http brings the bindings and the resources; who waits for whom,
//! what is limited and where a connection leads is decided here. Versions of HTTP are hyper's.
//!
//! Deliberately absent: TLS of servers (that is an ingress's), upgrades, informational answers.

mod activity;
mod answer;
mod connection;
mod deadline;
mod error;
mod fields;
mod instances;
mod length;
pub(crate) mod limits;
mod line;
mod linger;
mod outgoing;
mod p2;
mod p3;
mod pace;
mod patience;
mod pieces;
mod request;
mod resources;
mod rest;
mod room;
mod server;
mod targets;
mod tasks;
mod transmission;
mod watched;

use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime_wasi_http::{Error, WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use self::outgoing::Hooks;
pub(crate) use self::outgoing::{Outgoing, Tls};
use self::resources::Resources;
pub(crate) use self::server::serve;
use crate::account::Account;
use crate::config::Kind;
use crate::guest::Guest;

/// What a guest has of `wasi:http`. Costs nothing until it is used.
pub(crate) struct Http {
    context: WasiHttpCtx,
    hooks: Hooks,
    account: Arc<Account>,
    resources: Resources,
}

/// Adds `wasi:http`, that of 0.3 too where the engine knows it.
///
/// # Errors
/// When two definitions clash, which is a defect of ours.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>, kind: Kind) -> wasmtime::Result<()> {
    p2::add_to_linker(linker)?;
    if kind == Kind::Async {
        p3::add_to_linker(linker)?;
    }
    Ok(())
}

// === impl Http ===

impl Http {
    /// For a guest that imports none of it.
    pub(crate) fn absent(account: &Arc<Account>) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(limits::FIELDS);
        Self {
            context,
            hooks: Hooks::default(),
            account: Arc::clone(account),
            resources: Resources::new(Arc::clone(account)),
        }
    }

    /// How its guest calls out.
    ///
    /// # Errors
    /// Where it may not.
    fn outgoing(&self) -> Result<&Outgoing, Error> {
        self.hooks.outgoing()
    }
}

impl Guest {
    /// Lets it call out: it is one that has wasi:http, and the limits of such.
    pub(crate) fn set_outgoing(&mut self, outgoing: Arc<Outgoing>) {
        self.table.set_max_capacity(limits::RESOURCES);
        self.http.hooks = Hooks::of(outgoing);
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.http.resources.called(&mut self.table);
        WasiHttpCtxView {
            hooks: &mut self.http.hooks,
            table: &mut self.table,
            ctx: &mut self.http.context,
        }
    }
}
