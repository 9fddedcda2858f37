//! Preview 1 called from real wasm: a module whose exports call the imports of the same name, with
//! the test in the guest's place.

mod files;
mod paths;
mod poll;
mod process;
mod sockets;
mod standard;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::container::Protocol;
use model::runtime::{InstanceId, Limits, MountSpec, PodId, PodNetwork, VolumeSource, VolumeSpec};
use model::volume::HostPathType;
use net::{Notice, Observer, PodNet, PodRange, Switch, SwitchConfig};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use volume::{MountTable, PodVolumes, RootSpec};
use wasmtime::{Instance, Memory, Module, Store, Val};

use crate::account::Account;
use crate::config::{self, Allocation, Kind};
use crate::files::FileCalls;
use crate::guest::Guest;
use crate::health::Health;
use crate::image::Image;
use crate::instance::{Identity, Program, Report};
use crate::output::OutputSink;
use crate::stdin::{self, Giver};
use crate::stop::Stop;
use crate::wasi::keyvalue::Buckets;

/// The preopened directory of a module without listeners.
const ROOT: u32 = 3;
/// The first listener.
const LISTENER: u32 = 3;

/// Every function with its parameters: `i` for 32 bits, `l` for 64.
const FUNCTIONS: [(&str, &str); 46] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "ili"),
    ("fd_advise", "illi"),
    ("fd_allocate", "ill"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "ill"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "il"),
    ("fd_filestat_set_times", "illi"),
    ("fd_pread", "iiili"),
    ("fd_prestat_get", "ii"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_pwrite", "iiili"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiili"),
    ("fd_renumber", "ii"),
    ("fd_seek", "ilii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiilli"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiillii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("proc_raise", "i"),
    ("sched_yield", ""),
    ("random_get", "ii"),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// Bytes of the guest's memory: 16 pages.
const MEMORY: u32 = 16 << 16;

/// A pod with one directory of the host mounted at /data.
struct Pod {
    _switch: Switch,
    net: PodNet,
    directory: TempDir,
}

/// What a guest starts with.
#[derive(Default)]
struct Start<'a> {
    args: &'a [&'a str],
    env: &'a [(&'a str, &'a str)],
    ports: &'a [(&'a str, u16, Protocol)],
}

/// A guest whose calls are made by the test.
struct Probe {
    store: Store<Guest>,
    instance: Instance,
    memory: Option<Memory>,
    account: Arc<Account>,
    giver: Giver,
    reports: UnboundedReceiver<Report>,
}

struct Deaf;

impl Observer for Deaf {
    fn notice(&self, _: Notice) {}
}

/// 32 bits.
fn i(number: u32) -> Val {
    Val::I32(number.cast_signed())
}

/// 64 bits.
fn l(number: u64) -> Val {
    Val::I64(number.cast_signed())
}

fn module() -> String {
    let mut imports = String::new();
    let mut exports = String::new();
    for (name, params) in FUNCTIONS {
        let types: String = params
            .chars()
            .map(|p| if p == 'i' { " i32" } else { " i64" })
            .collect();
        let result = if name == "proc_exit" {
            ""
        } else {
            "(result i32)"
        };
        let gets: String = (0..params.len()).fold(String::new(), |mut gets, n| {
            write!(gets, "(local.get {n})").unwrap();
            gets
        });
        writeln!(
            imports,
            r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} (param{types}) {result}))"#
        )
        .unwrap();
        writeln!(
            exports,
            r#"(func (export "{name}") (param{types}) {result} (call ${name} {gets}))"#
        )
        .unwrap();
    }
    format!(r#"(module {imports} (memory (export "memory") 16) {exports})"#)
}

// === impl Pod ===

impl Pod {
    fn new() -> Self {
        let config = SwitchConfig {
            range: PodRange::LOOPBACK,
            kernel: Handle::current(),
            streams: Handle::current(),
            observer: Arc::new(Deaf),
            peers: None,
            steering: None,
            binder: None,
        };
        let switch = Switch::new(config).unwrap();
        let net = switch.add_pod(PodId(1), &PodNetwork::default()).unwrap();
        let directory = TempDir::new().unwrap();
        std::fs::create_dir(directory.path().join("data")).unwrap();
        Self {
            _switch: switch,
            net,
            directory,
        }
    }

    /// What is mounted at /data.
    fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    fn files(&self) -> MountTable {
        let source = VolumeSource::Host {
            path: self.data(),
            kind: HostPathType::Directory,
        };
        let specs = BTreeMap::from([(
            "data".to_owned(),
            VolumeSpec {
                source,
                size_limit: None,
            },
        )]);
        let volumes = PodVolumes::new(self.directory.path().join("pod"), specs);
        let root = RootSpec {
            container: "probe".to_owned(),
            image: None,
            read_only: false,
            size_limit: None,
        };
        let mount = MountSpec {
            volume: "data".to_owned(),
            path: "/data".to_owned(),
            ..MountSpec::default()
        };
        MountTable::new(&volumes, root, &[mount]).unwrap()
    }

    async fn probe(&self) -> Probe {
        self.start(Start::default()).await
    }

    async fn start(&self, start: Start<'_>) -> Probe {
        self.run(&module(), start).await.unwrap()
    }

    async fn run(&self, module: &str, start: Start<'_>) -> wasmtime::Result<Probe> {
        let limits = Limits {
            cpu_weight: 100,
            cpu_limit: None,
            memory: None,
            storage: None,
        };
        let account = Arc::new(Account::new(limits));
        let (sender, reports) = unbounded_channel();
        let program = Arc::new(Program {
            id: InstanceId(1),
            container: "probe".to_owned(),
            identity: Arc::new(Identity::default()),
            image: Arc::new(Image::new("none", Path::new("none"))),
            args: start.args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: start.variables(),
            declared: start.env.len(),
            working_dir: "/".to_owned(),
            net: self.net.clone(),
            files: self.files(),
            file_calls: FileCalls::new(),
            buckets: Buckets::default(),
            account: Arc::clone(&account),
            stdin: true,
            tty: false,
            ports: start
                .ports
                .iter()
                .map(|(name, port, protocol)| ((*name).to_owned(), *port, *protocol))
                .collect(),
            grace_period: Duration::from_secs(1),
            reports: sender,
        });
        let (giver, stdin) = stdin::pair(false);
        let guest = Guest::new(
            &program,
            OutputSink::new(program.id, program.reports.clone()),
            Health::new(program.id, program.reports.clone()),
            Some(stdin),
            Arc::new(Stop::new(program.grace_period)),
        );
        let engine = config::engine(Kind::Sync, Allocation::OnDemand)?;
        let module = Module::new(&engine, wat::parse_str(module)?)?;
        let mut linker = wasmtime::Linker::new(&engine);
        super::add_to_linker(&mut linker)?;
        let mut store = Store::new(&engine, guest);
        store.set_epoch_deadline(1);
        store.data_mut().p1.set_accepts(super::accepts(&module));
        let instance = linker.instantiate_async(&mut store, &module).await?;
        let memory = instance.get_memory(&mut store, "memory");
        Ok(Probe {
            store,
            instance,
            memory,
            account,
            giver,
            reports,
        })
    }
}

// === impl Start ===

impl Start<'_> {
    fn variables(&self) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.env.iter().map(owned).collect()
    }
}

// === impl Probe ===

impl Probe {
    /// Makes a call and tells its error number, or why it trapped.
    async fn try_call(&mut self, name: &str, args: &[Val]) -> wasmtime::Result<u32> {
        let function = self.instance.get_func(&mut self.store, name).unwrap();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        function
            .call_async(&mut self.store, args, &mut results)
            .await?;
        Ok(results
            .first()
            .and_then(Val::i32)
            .unwrap_or(0)
            .cast_unsigned())
    }

    /// Makes a call and tells its error number.
    async fn call(&mut self, name: &str, args: &[Val]) -> u32 {
        self.try_call(name, args).await.unwrap()
    }

    /// Makes a call that must succeed.
    async fn done(&mut self, name: &str, args: &[Val]) {
        assert_eq!(self.call(name, args).await, 0, "{name} {args:?}");
    }

    fn put(&mut self, at: u32, bytes: &[u8]) {
        self.memory
            .unwrap()
            .write(&mut self.store, at as usize, bytes)
            .unwrap();
    }

    fn get(&self, at: u32, length: usize) -> Vec<u8> {
        self.memory.unwrap().data(&self.store)[at as usize..][..length].to_vec()
    }

    fn number(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.get(at, 4).try_into().unwrap())
    }

    fn long(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.get(at, 8).try_into().unwrap())
    }

    /// Puts an iovec array at 16 and tells its parameters.
    fn iovecs(&mut self, parts: &[(u32, u32)]) -> [Val; 2] {
        for (n, (at, length)) in (0..).zip(parts) {
            self.put(16 + n * 8, &at.to_le_bytes());
            self.put(20 + n * 8, &length.to_le_bytes());
        }
        [i(16), i(u32::try_from(parts.len()).unwrap())]
    }

    /// Puts a path at 4096 and tells its parameters.
    fn path(&mut self, path: impl AsRef<[u8]>) -> [Val; 2] {
        self.put(4096, path.as_ref());
        [i(4096), i(u32::try_from(path.as_ref().len()).unwrap())]
    }

    /// Opens a path below the root: `oflags`, rights, `fdflags`.
    async fn open(&mut self, path: &str, how: u32, rights: u64, flags: u32) -> Result<u32, u32> {
        let [at, length] = self.path(path);
        let args = [
            i(ROOT),
            i(1),
            at,
            length,
            i(how),
            l(rights),
            l(u64::MAX),
            i(flags),
            i(0),
        ];
        match self.call("path_open", &args).await {
            0 => Ok(self.number(0)),
            errno => Err(errno),
        }
    }

    /// Writes bytes from 64 KiB on.
    async fn write(&mut self, fd: u32, bytes: &[u8]) -> Result<u32, u32> {
        self.put(1 << 16, bytes);
        let [iovs, count] = self.iovecs(&[(1 << 16, u32::try_from(bytes.len()).unwrap())]);
        match self.call("fd_write", &[i(fd), iovs, count, i(0)]).await {
            0 => Ok(self.number(0)),
            errno => Err(errno),
        }
    }

    /// Reads bytes to 64 KiB on.
    async fn read(&mut self, fd: u32, most: u32) -> Result<Vec<u8>, u32> {
        let [iovs, count] = self.iovecs(&[(1 << 16, most)]);
        match self.call("fd_read", &[i(fd), iovs, count, i(0)]).await {
            0 => Ok(self.get(1 << 16, self.number(0) as usize)),
            errno => Err(errno),
        }
    }
}

#[tokio::test]
async fn every_function_can_be_imported() {
    let names: std::collections::BTreeSet<_> = FUNCTIONS.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 46);
    Pod::new().probe().await;
}

#[tokio::test]
async fn a_module_without_a_memory_is_told_so() {
    let module = r#"(module
        (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
        (func (export "fd_close") (param i32) (result i32) (call $close (local.get 0))))"#;
    let mut probe = Pod::new().run(module, Start::default()).await.unwrap();
    let error = probe.try_call("fd_close", &[i(0)]).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("exports no memory"),
        "{error:#}"
    );
}
