//! A runtime that runs nothing: it notes what is ordered and behaves as tests say.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use model::Runtime;
use model::runtime::{
    Answer, Connection, Event, EventSink, ExecSpec, Exit, InstanceId, InstanceSpec, PodCreated,
    PodId, PodSandbox, RuntimeError, Signal, Stats, Stream, Update, VolumeSpec,
};
use tokio::time::Instant;

use crate::Router;

/// What a pretended program does.
#[derive(Debug, Clone)]
pub(super) enum Program {
    /// Runs for so long, writes this, and exits with this.
    Exits(Duration, &'static str, i32),
    /// Runs until TERM.
    Serves,
    /// Runs until KILL.
    Deaf,
}

/// The pretended runtime.
pub(super) struct Fake {
    router: Arc<Router>,
    start: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    orders: Vec<String>,
    sandboxes: Vec<PodSandbox>,
    volumes: BTreeMap<String, VolumeSpec>,
    specs: Vec<InstanceSpec>,
    running: HashMap<InstanceId, (String, Program)>,
    /// By container or command: what it does, the first time and later; the last repeats.
    programs: HashMap<String, VecDeque<Program>>,
    /// By `order name`: what is answered, the first time and later; then it succeeds.
    refusals: HashMap<String, VecDeque<RuntimeError>>,
    /// Orders that are never answered.
    hanging: Vec<String>,
    /// Orders that take time.
    slow: HashMap<String, Duration>,
    files: HashMap<String, Bytes>,
    listeners: HashMap<u16, Arc<dyn Fn(UnixStream) + Send + Sync>>,
}

// === impl Fake ===

impl Fake {
    pub(super) fn new(router: Arc<Router>) -> Self {
        Self {
            router,
            start: Instant::now(),
            state: Mutex::default(),
        }
    }

    /// What a container or command does from its first run on.
    pub(super) fn program(&self, name: &str, programs: &[Program]) {
        let programs = programs.iter().cloned().collect();
        self.state().programs.insert(name.to_owned(), programs);
    }

    /// Answers the next orders of this text with errors.
    pub(super) fn refuse(&self, order: &str, errors: &[RuntimeError]) {
        let errors = errors.iter().cloned().collect();
        self.state().refusals.insert(order.to_owned(), errors);
    }

    /// Never answers orders of this text.
    pub(super) fn hang(&self, order: &str) {
        self.state().hanging.push(order.to_owned());
    }

    /// Takes so long over orders of this text.
    pub(super) fn slow(&self, order: &str, time: Duration) {
        self.state().slow.insert(order.to_owned(), time);
    }

    /// The content of a `File` volume.
    pub(super) fn write_file(&self, volume: &str, content: &'static str) {
        let content = Bytes::from_static(content.as_bytes());
        self.state().files.insert(volume.to_owned(), content);
    }

    /// Listens on a port of every pod.
    pub(super) fn listen(&self, port: u16, serve: impl Fn(UnixStream) + Send + Sync + 'static) {
        self.state().listeners.insert(port, Arc::new(serve));
    }

    /// All pods are gone with their process, as the pod host tells it.
    pub(super) fn die(&self) {
        let running: Vec<InstanceId> = self.state().running.keys().copied().collect();
        for instance in running {
            self.end(instance, 137, "Error");
        }
        let gone = || RuntimeError::Gone("the pod host was killed".to_owned());
        let mut state = self.state();
        for order in ["create app", "term app"] {
            state
                .refusals
                .insert(order.to_owned(), VecDeque::from([gone()]));
        }
    }

    /// Every order so far, with the second in which it came.
    pub(super) fn orders(&self) -> Vec<String> {
        self.state().orders.clone()
    }

    /// The orders of one kind, with their seconds.
    pub(super) fn orders_of(&self, kind: &str) -> Vec<String> {
        let orders = self.orders();
        let is = |order: &String| order.split(' ').nth(1) == Some(kind);
        orders.into_iter().filter(is).collect()
    }

    pub(super) fn specs(&self) -> Vec<InstanceSpec> {
        self.state().specs.clone()
    }

    pub(super) fn sandbox(&self) -> PodSandbox {
        self.state().sandboxes.last().cloned().unwrap()
    }

    /// The volumes that came after the pod was created.
    pub(super) fn volumes(&self) -> BTreeMap<String, VolumeSpec> {
        self.state().volumes.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Notes an order, and finds what is answered.
    async fn note(&self, order: String) -> Result<(), RuntimeError> {
        let (hangs, time) = {
            let mut state = self.state();
            let seconds = self.start.elapsed().as_secs();
            state.orders.push(format!("{seconds} {order}"));
            let refusal = state.refusals.get_mut(&order).and_then(VecDeque::pop_front);
            if let Some(error) = refusal {
                return Err(error);
            }
            (
                state.hanging.contains(&order),
                state.slow.get(&order).copied(),
            )
        };
        if let Some(time) = time {
            tokio::time::sleep(time).await;
        }
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// The container of an instance; `other` for commands and what was never made.
    fn name(&self, instance: InstanceId) -> String {
        let state = self.state();
        let spec = state.specs.iter().find(|spec| spec.id == instance);
        spec.map_or("other".to_owned(), |spec| spec.container.clone())
    }

    /// Lets a program run.
    fn run(&self, instance: InstanceId, name: &str) {
        let program = {
            let mut state = self.state();
            let programs = state.programs.entry(name.to_owned()).or_default();
            let program = match programs.len() {
                0 => Program::Serves,
                1 => programs[0].clone(),
                _ => programs.pop_front().unwrap(),
            };
            let running = (name.to_owned(), program.clone());
            state.running.insert(instance, running);
            program
        };
        if let Program::Exits(after, output, code) = program {
            let router = Arc::clone(&self.router);
            tokio::spawn(async move {
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                if !output.is_empty() {
                    let chunk = Bytes::from_static(output.as_bytes());
                    let stream = Stream::Stdout;
                    let output = Event::Output {
                        instance,
                        stream,
                        chunk,
                    };
                    router.event(output).await;
                }
                router.event_now(exited(instance, code, ""));
            });
        }
    }

    fn end(&self, instance: InstanceId, code: i32, reason: &str) {
        if self.state().running.remove(&instance).is_some() {
            self.router.event_now(exited(instance, code, reason));
        }
    }
}

fn exited(instance: InstanceId, code: i32, reason: &str) -> Event {
    Event::Exited {
        instance,
        exit: Exit {
            code,
            reason: reason.to_owned(),
            message: String::new(),
        },
        stats: Stats {
            cpu: Duration::from_millis(5),
            memory_peak: 1 << 20,
            ..Stats::default()
        },
    }
}

impl Runtime for Fake {
    fn create_pod(&self, pod: PodSandbox) -> Answer<'_, PodCreated> {
        Box::pin(async move {
            self.note("create_pod".to_owned()).await?;
            self.state().sandboxes.push(pod);
            Ok(PodCreated {
                addresses: vec![[127, 9, 0, 1].into()],
            })
        })
    }

    fn remove_pod(&self, _: PodId) -> Answer<'_, ()> {
        Box::pin(self.note("remove_pod".to_owned()))
    }

    fn create(&self, instance: InstanceSpec) -> Answer<'_, ()> {
        Box::pin(async move {
            let name = instance.container.clone();
            self.note(format!("create {name}")).await?;
            self.state().specs.push(instance);
            Ok(())
        })
    }

    fn start(&self, instance: InstanceId) -> Answer<'_, ()> {
        Box::pin(async move {
            let name = self.name(instance);
            self.note(format!("start {name}")).await?;
            self.run(instance, &name);
            Ok(())
        })
    }

    fn signal(&self, instance: InstanceId, signal: Signal) -> Answer<'_, ()> {
        Box::pin(async move {
            let name = self.name(instance);
            let word = if matches!(signal, Signal::Term(_)) {
                "term"
            } else {
                "kill"
            };
            self.note(format!("{word} {name}")).await?;
            let program = self.state().running.get(&instance).cloned();
            match (program, signal) {
                (None, _) => return Err(RuntimeError::NotFound("no such instance".to_owned())),
                (Some((_, Program::Deaf)), Signal::Term(_)) => {}
                (Some(_), Signal::Term(_)) => self.end(instance, 143, "Error"),
                (Some(_), Signal::Kill) => self.end(instance, 137, "Error"),
            }
            Ok(())
        })
    }

    fn exec(&self, exec: ExecSpec) -> Answer<'_, ()> {
        Box::pin(async move {
            let command = exec.command.join(" ");
            self.note(format!("exec {command}")).await?;
            self.note(format!("ran {command}")).await?;
            self.run(exec.id, &command);
            Ok(())
        })
    }

    fn input(&self, instance: InstanceId, chunk: Option<Bytes>) -> Answer<'_, ()> {
        Box::pin(async move {
            let name = self.name(instance);
            self.note(format!("input {name} {chunk:?}")).await
        })
    }

    fn update(&self, _: PodId, update: Update) -> Answer<'_, ()> {
        Box::pin(async move {
            match update {
                Update::AddVolumes(more) => {
                    self.note("add_volumes".to_owned()).await?;
                    self.state().volumes.extend(more);
                    Ok(())
                }
                Update::ResetFile(volume) => self.note(format!("reset {volume}")).await,
                Update::Files { volume, files } => {
                    let files: Vec<String> = files
                        .iter()
                        .map(|file| format!("{}={}", file.path, file.content.escape_ascii()))
                        .collect();
                    self.note(format!("files {volume} {}", files.join(" ")))
                        .await
                }
                Update::Limits(..) => self.note("limits".to_owned()).await,
            }
        })
    }

    fn pause(&self, _: InstanceId, _: bool) -> Answer<'_, ()> {
        Box::pin(self.note("pause".to_owned()))
    }

    fn stats(&self, _: InstanceId) -> Answer<'_, Stats> {
        Box::pin(async { Ok(Stats::default()) })
    }

    fn read_file(&self, _: PodId, volume: String, at_most: u64) -> Answer<'_, Bytes> {
        let found = self.state().files.get(&volume).cloned().unwrap_or_default();
        let length = found.len().min(usize::try_from(at_most).unwrap());
        Box::pin(async move { Ok(found.slice(found.len() - length..)) })
    }

    fn remove(&self, instance: InstanceId) -> Answer<'_, ()> {
        Box::pin(async move {
            let name = self.name(instance);
            self.state().running.remove(&instance);
            self.note(format!("remove {name}")).await
        })
    }

    fn connect(&self, _: PodId, port: u16, _: Duration) -> Answer<'_, Connection> {
        Box::pin(async move {
            let listener = self.state().listeners.get(&port).cloned();
            let refused = || RuntimeError::Refused("nobody listens".to_owned());
            let serve = listener.ok_or_else(refused)?;
            let (ours, theirs) = UnixStream::pair().unwrap();
            serve(theirs);
            Ok(Connection(ours.into()))
        })
    }
}
