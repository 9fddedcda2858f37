//! What a store holds: everything a guest can reach.

use std::sync::Arc;

use model::runtime::Stream;
use net::PodNet;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_io::IoView;

use crate::files::Files;
use crate::health::Health;
use crate::http::Http;
use crate::instance::Program;
use crate::limits::Limiter;
use crate::output::{Output, OutputSink};
use crate::stdin::Stdin;
use crate::stop::Stop;
use crate::wasi::{keyvalue, p1};

/// Open resources of one guest: streams, sockets, pollables, directories. A server with ten
/// thousand connections has three for each; an attack stops here with a trap. One that has wasi:http
/// gets fewer.
const RESOURCES: usize = 40_000;

/// The state of one instance.
pub(crate) struct Guest {
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    pub(crate) stdin: Option<Stdin>,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) http: Http,
    pub(crate) net: PodNet,
    pub(crate) files: Files,
    pub(crate) limiter: Limiter,
    /// Descriptors of a preview 1 module; nothing for a component.
    pub(crate) p1: p1::State,
    pub(crate) health: Health,
    pub(crate) stop: Arc<Stop>,
    pub(crate) program: Arc<Program>,
    /// Of buckets.
    pub(crate) handles: keyvalue::Handles,
}

// === impl Guest ===

impl Guest {
    /// A guest whose output goes to `sink` and whose health is `health`, which several guests of one
    /// container may share.
    pub(crate) fn new(
        program: &Arc<Program>,
        sink: OutputSink,
        health: Health,
        stdin: Option<Stdin>,
        stop: Arc<Stop>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        let out = Output::new(sink.clone(), Stream::Stdout, program.tty);
        let err = Output::new(sink, Stream::Stderr, program.tty);
        let mut wasi = WasiCtx::builder();
        wasi.args(&program.args)
            .envs(&program.env)
            .stdout(out.clone())
            .stderr(err.clone());
        // Where every program begins that is told nothing is not told.
        if !matches!(&*program.working_dir, "" | "/") {
            wasi.initial_cwd(&program.working_dir);
        }
        if let Some(stdin) = &stdin {
            wasi.stdin(stdin.clone());
        }
        let files = Files::new(
            program.files.clone(),
            program.file_calls.clone(),
            Arc::clone(&program.account),
        );
        Self {
            table,
            wasi: wasi.build(),
            http: Http::absent(&program.account),
            net: program.net.clone(),
            limiter: Limiter::new(Arc::clone(&program.account)),
            p1: p1::State::new(Arc::clone(program), stdin.clone(), out.clone(), err.clone()),
            stdin,
            stdout: out,
            stderr: err,
            files,
            health,
            stop,
            program: Arc::clone(program),
            handles: keyvalue::Handles::default(),
        }
    }
}

impl IoView for Guest {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}
