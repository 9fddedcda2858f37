//! One run of one program: started, ended or killed, and told.
//!
//! ```text
//! Engine::image(code) ─> Image ─┐
//! Program{image, args, env, net, files, account} ─> Instance::start ─> Report::Output … Report::Ended
//!                                                     │  a command: one guest; a server: `http`
//!                                                     └─ kill(exit)
//! ```

mod end;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use model::runtime::{Exit, InstanceId, Stats};
use net::PodNet;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use volume::MountTable;
use wasmtime::Store;

pub use self::end::signalled;
use self::end::{End, start_error};
pub(crate) use self::end::{Farewell, exited, failed};
use crate::account::{Account, OOM_KILLED, Victim};
use crate::executor::Executor;
use crate::files::FileCalls;
use crate::guest::Guest;
use crate::health::Health;
use crate::http::{self, Outgoing, Tls};
use crate::image::{Entry, Image, ImageError};
use crate::output::{Chunk, OutputSink};
use crate::stdin::{self, Giver, Stdin};
use crate::stop::Stop;
use crate::tiers::{self, ON_DEMAND, Slot, Tiers};
use crate::wasi::keyvalue::Buckets;

/// Images that stay loaded although nothing runs from them: the next pod of one starts at once.
const IMAGES_KEPT: usize = 512;

/// Bytes that one call may make the host allocate for lists and strings: what a guest passes in
/// is held twice while it is copied, and fifty guests at it must not be felt.
const HOSTCALL_BYTES: usize = 2 << 20;

/// Handles that a component may hold: as many as it may have resources.
const HANDLES: usize = 40_000;

/// What the host may hold of a guest's concurrency: tasks, and the two ends of each stream and
/// future with what stands between them, also where both ends are the host's and take no handle.
/// Two of these for each handle.
const CONCURRENT: usize = 80_000;

/// Runs programs. One per process; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    executor: Executor,
    tiers: Tiers,
    images: Mutex<HashMap<String, Arc<Image>>>,
    /// How many there are.
    images_known: AtomicUsize,
    tls: Tls,
}

/// What runs, and with what.
pub struct Program {
    /// Its number: in every report.
    pub id: InstanceId,
    /// The container's name.
    pub container: String,
    /// The pod that it belongs to.
    pub identity: Arc<Identity>,
    /// Its code.
    pub image: Arc<Image>,
    /// argv, the program's name first.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// How many of its first variables the pod declares: the configuration of those who ask.
    pub declared: usize,
    /// Where relative paths begin.
    pub working_dir: String,
    /// The pod's network.
    pub net: PodNet,
    /// The container's files.
    pub files: MountTable,
    /// The pod's bound on blocking calls.
    pub file_calls: FileCalls,
    /// The pod's key-value buckets.
    pub buckets: Buckets,
    /// What it may use, shared by all instances of the container.
    pub account: Arc<Account>,
    /// Whether it has standard input.
    pub stdin: bool,
    /// Whether its standard streams are a terminal to it.
    pub tty: bool,
    /// Declared ports by name, for preview 1 modules that expect open listeners.
    pub ports: Vec<(String, u16, model::container::Protocol)>,
    /// How long it has between being asked to stop and being ended, as far as is known before.
    pub grace_period: Duration,
    /// Where it is told what happens.
    pub reports: UnboundedSender<Report>,
}

/// A pod's names, for guests that ask who they are.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.uid`.
    pub uid: String,
    /// The node's name.
    pub node: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
}

/// What an instance tells, in order; `Ended` is the last.
#[derive(Debug)]
pub enum Report {
    /// It wrote something.
    Output(Chunk),
    /// It said whether it is ready.
    Health {
        /// Which one.
        instance: InstanceId,
        /// Whether it calls itself ready.
        ready: bool,
        /// What it says to that, for people.
        message: String,
    },
    /// It ended.
    Ended {
        /// Which one.
        instance: InstanceId,
        /// How.
        exit: Exit,
        /// What it had used.
        stats: Stats,
    },
}

/// A running instance.
pub struct Instance {
    end: Arc<End>,
    stop: Arc<Stop>,
    stdin: Option<Giver>,
    account: Arc<Account>,
    net: PodNet,
}

// === impl Program ===

impl Program {
    /// The variables that the pod declares.
    pub(crate) fn declared_env(&self) -> &[(String, String)] {
        self.env.get(..self.declared).unwrap_or(&self.env)
    }
}

// === impl Engine ===

impl Engine {
    /// Starts the guest threads, in a process that may have so many memory mappings
    /// (`vm.max_map_count`).
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(mappings: usize) -> io::Result<Self> {
        let inner = Inner {
            executor: Executor::start()?,
            tiers: Tiers::new(mappings),
            images: Mutex::default(),
            images_known: AtomicUsize::new(0),
            tls: Tls::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The runtime of the guests' threads: what a guest reads is best waited for there.
    pub fn runtime(&self) -> &Handle {
        self.inner.executor.runtime()
    }

    /// The image with this digest, whose compiled code lies at `path`. Loads it unless it is
    /// loaded, so that a container that cannot run is refused before it starts.
    ///
    /// # Errors
    /// When the code does not load, is no command, or imports what nobody provides.
    pub fn image(&self, digest: &str, path: &Path) -> Result<Arc<Image>, ImageError> {
        let image = self.known_image(digest, path);
        self.place(&image)?;
        Ok(image)
    }

    fn known_image(&self, digest: &str, path: &Path) -> Arc<Image> {
        let mut images = self
            .inner
            .images
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if images.len() > IMAGES_KEPT {
            images.retain(|_, image| Arc::strong_count(image) > 1);
        }
        let image = images
            .entry(digest.to_owned())
            .or_insert_with(|| Arc::new(Image::new(digest, path)));
        let image = Arc::clone(image);
        self.inner
            .images_known
            .store(images.len(), Ordering::Relaxed);
        image
    }

    /// A slot, and what to call there: in the first tier with room, or on demand where the program
    /// has more instances, memories or tables than a pool's slot holds.
    pub(crate) fn place(&self, image: &Image) -> Result<(Slot, Entry), ImageError> {
        let images = self.inner.images_known.load(Ordering::Relaxed);
        let first = match image.fits_pools() {
            true => tiers::first_for(images),
            false => ON_DEMAND,
        };
        let slot = self.slot_for(image, first)?;
        match image.entry(&slot.tier) {
            Ok(entry) => Ok((slot, entry)),
            Err(error) if slot.tier.index == ON_DEMAND => Err(error),
            Err(refusal) => {
                let slot = self.slot_for(image, ON_DEMAND)?;
                let entry = image.entry(&slot.tier)?;
                // What the machine could not do now is no word of the pool's.
                if !matches!(refusal, ImageError::Machine(_)) {
                    image.note_beyond_pools();
                }
                Ok((slot, entry))
            }
        }
    }

    fn slot_for(&self, image: &Image, from: usize) -> Result<Slot, ImageError> {
        let (tiers, executor) = (&self.inner.tiers, &self.inner.executor);
        tiers.slot(executor, image.kind(), from)
    }

    /// The threads that guests run on.
    pub(crate) fn executor(&self) -> &Executor {
        &self.inner.executor
    }

    /// How guests' requests to outside are made secret.
    pub(crate) fn tls(&self) -> &Tls {
        &self.inner.tls
    }

    /// Lets instances of a paused account run again.
    pub fn resume(&self) {
        self.inner.executor.resume();
    }

    /// Says that a program will be started in a moment: a guest thread that sleeps wakes meanwhile.
    pub fn expect(&self) {
        self.inner.executor.expect();
    }

    /// An instance of the program, in the first tier that can hold it.
    async fn run(
        &self,
        program: Program,
        stdin: Option<Stdin>,
        stop: Arc<Stop>,
        farewell: Arc<Farewell>,
    ) -> Exit {
        let program = Arc::new(program);
        if program.image.is_server() {
            let exit = http::serve(self.clone(), program, stop, farewell).await;
            return match exit.code {
                0 => exit,
                // By itself a server ends with 0: this one has not come to listen.
                _ => end::unstarted(exit.message),
            };
        }
        let sink = OutputSink::new(program.id, program.reports.clone());
        let health = Health::new(program.id, program.reports.clone());
        let guest = Guest::new(&program, sink, health, stdin, stop);
        let entered = self.enter(&program, guest, farewell).await;
        let exit = entered.unwrap_or_else(|error| start_error(&error));
        if exit.reason == OOM_KILLED {
            program.account.end_all(&exit);
        }
        exit
    }

    /// Instantiates and calls the entry point. An error is one before that call.
    async fn enter(
        &self,
        program: &Program,
        guest: Guest,
        farewell: Arc<Farewell>,
    ) -> wasmtime::Result<Exit> {
        let (slot, entry) = self.place(&program.image)?;
        let mut store = store(&slot, guest);
        if entry.calls_out() {
            let outgoing = Outgoing::new(self.clone(), program, farewell);
            store.data_mut().set_outgoing(Arc::new(outgoing));
        }
        let ended = match entry {
            Entry::Command { command, .. } => {
                let command = command.instantiate_async(&mut store).await?;
                let ran = command.wasi_cli_run().call_run(&mut store).await;
                ran.map(|result| i32::from(result.is_err()))
            }
            Entry::Command3 { command, .. } => {
                let command = command.instantiate_async(&mut store).await?;
                // What is still under way when `run` has returned ends with it, as threads do
                // with `main`.
                let run = command.wasi_cli_run().func_run();
                let ran = run.call_async(&mut store, ()).await;
                ran.map(|(result,)| i32::from(result.is_err()))
            }
            Entry::Preview1 { module, accepts } => {
                store.data_mut().p1.set_accepts(accepts);
                let instance = module.instantiate_async(&mut store).await?;
                let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
                start.call_async(&mut store, ()).await.map(|()| 0)
            }
            Entry::Server(_) | Entry::Server3(_) => wasmtime::bail!("an http server is no command"),
        };
        Ok(match ended {
            Ok(code) => exited(code),
            Err(error) => failed(&error),
        })
    }
}

/// A store in a slot, with all of a guest's limits.
pub(crate) fn store(slot: &Slot, guest: Guest) -> Store<Guest> {
    let mut store = Store::new(&slot.tier.engine, guest);
    store.limiter(|guest| &mut guest.limiter);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    store.set_max_component_handles(HANDLES);
    if let Some(table) = store.concurrent_resource_table() {
        table.set_max_capacity(CONCURRENT);
    }
    store
}

// === impl Instance ===

impl Instance {
    /// Runs a program. Everything that happens is told to its `reports`.
    pub fn start(engine: &Engine, program: Program) -> Self {
        let end = Arc::new(End::new());
        let (giver, stdin) = match program.stdin {
            true => {
                let (giver, stdin) = stdin::pair(program.tty);
                (Some(giver), Some(stdin))
            }
            false => (None, None),
        };
        let (account, net) = (Arc::clone(&program.account), program.net.clone());
        let farewell = Arc::new(Farewell {
            instance: program.id,
            reports: program.reports.clone(),
            told: end.told(),
            account: Arc::clone(&account),
            net: net.clone(),
            exit: OnceLock::new(),
        });
        let done = {
            let farewell = Arc::clone(&farewell);
            move |exit: Option<Exit>| {
                if let Some(exit) = exit {
                    farewell.exits(exit);
                }
            }
        };
        let stop = Arc::new(Stop::new(program.grace_period));
        let victim: Arc<dyn Victim> = end.clone();
        account.add_victim(Arc::downgrade(&victim));
        let (running, stopping) = (engine.clone(), Arc::clone(&stop));
        let future = async move { running.run(program, stdin, stopping, farewell).await };
        let task = engine
            .inner
            .executor
            .spawn(Arc::clone(&account), future, done);
        end.is_for(task);
        Self {
            end,
            stop,
            stdin: giver,
            account,
            net,
        }
    }

    /// Asks it to end: SIGTERM. A guest that listens for that has so much time; any other is ended
    /// now, with 143.
    pub fn terminate(&self, left: Duration) {
        if !self.stop.ask(left) {
            self.kill(signalled(15));
        }
    }

    /// Ends it at the next chance, and tells `exit` as how. Without effect if it has ended.
    pub fn kill(&self, exit: Exit) {
        self.end.kill(exit);
    }

    /// Gives it input; `None` ends the input. False if it takes none.
    pub async fn give(&self, chunk: Option<bytes::Bytes>) -> bool {
        match &self.stdin {
            Some(giver) => giver.give(chunk).await,
            None => false,
        }
    }

    /// What it has used so far.
    pub fn stats(&self) -> Stats {
        stats(&self.account, &self.net)
    }
}

fn stats(account: &Account, net: &PodNet) -> Stats {
    let counters = net.counters();
    Stats {
        received: counters.received,
        sent: counters.sent,
        ..account.stats()
    }
}

#[cfg(test)]
mod tests;
