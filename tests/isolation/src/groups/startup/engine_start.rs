//! `engine-start`: one program in the engine alone, again and again, from `Instance::start` to its
//! `main`: what a pod's start pays once everything around it is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use engine::{Account, Buckets, Engine, FileCalls, Identity, Image, Instance, Program, Report};
use model::runtime::{InstanceId, Limits, PodId, PodNetwork};
use net::{Notice, Observer, PodNet, PodRange, Switch, SwitchConfig};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use volume::{MountTable, PodVolumes, RootSpec};

use super::clock::{self, Told};
use super::{case, images};
use crate::bench::Bench;
use crate::report::{Case, Figure};
use crate::samples::Samples;

const CASE: Case = case("engine-start");

/// Runs before the first that counts.
const WARM_UP: usize = 100;

/// An engine with one program to run in it.
struct Stand {
    engine: Engine,
    image: Arc<Image>,
    net: PodNet,
    files: MountTable,
    reports: UnboundedSender<Report>,
    incoming: UnboundedReceiver<Report>,
    // Last: what came before ends within it.
    _runtime: Runtime,
}

/// Nobody to tell: the pod has no doors.
struct Unobserved;

/// Measures it.
///
/// # Errors
/// When the guest does not run.
pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let mut stand = Stand::new(bench, folder.path())?;
    let mut times = Vec::new();
    for number in 0..WARM_UP + bench.amount.in_process {
        let time = stand.sample(number)?;
        if number >= WARM_UP {
            times.push(time);
        }
    }
    Ok(vec![CASE.measured("wasmpod", &Samples::new(times))])
}

// === impl Stand ===

impl Stand {
    fn new(bench: &Bench, folder: &std::path::Path) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let code = images::store(&bench.paths.data, &bench.programs.compiler);
        let wasm = std::fs::read(&bench.programs.start)?;
        let digest = engine::cache::digest(&wasm);
        let path = runtime.block_on(code.code(&bench.programs.start, &digest))?;
        let engine = Engine::start(65_530)?;
        let switch = Switch::new(SwitchConfig {
            range: PodRange::LOOPBACK,
            kernel: runtime.handle().clone(),
            streams: runtime.handle().clone(),
            observer: Arc::new(Unobserved),
            peers: None,
            steering: None,
            binder: None,
        })?;
        let volumes = PodVolumes::new(folder.to_owned(), BTreeMap::new());
        let root = RootSpec {
            container: "guest".to_owned(),
            ..RootSpec::default()
        };
        let (reports, incoming) = mpsc::unbounded_channel();
        Ok(Self {
            image: engine.image(&digest, &path)?,
            engine,
            net: switch.add_pod(PodId(0), &PodNetwork::default())?,
            files: MountTable::new(&volumes, root, &[])?,
            reports,
            incoming,
            _runtime: runtime,
        })
    }

    /// Microseconds from the order to the guest's `main`.
    fn sample(&mut self, number: usize) -> anyhow::Result<f64> {
        let program = self.program(u64::try_from(number)?);
        let start = clock::now()?;
        let instance = Instance::start(&self.engine, program);
        let told = self.told()?;
        drop(instance);
        Ok(told.since(start)?.0)
    }

    fn program(&self, number: u64) -> Program {
        Program {
            id: InstanceId(number),
            container: "guest".to_owned(),
            identity: Arc::new(Identity::default()),
            image: Arc::clone(&self.image),
            args: vec!["start".to_owned()],
            env: Vec::new(),
            declared: 0,
            buckets: Buckets::default(),
            working_dir: "/".to_owned(),
            net: self.net.for_instance(),
            files: self.files.clone(),
            file_calls: FileCalls::new(),
            account: Arc::new(Account::new(LIMITS)),
            stdin: false,
            tty: false,
            ports: Vec::new(),
            grace_period: Duration::ZERO,
            reports: self.reports.clone(),
        }
    }

    /// What the instance told until its end.
    fn told(&mut self) -> anyhow::Result<Told> {
        let mut output = Vec::new();
        loop {
            match self
                .incoming
                .blocking_recv()
                .context("the engine is gone")?
            {
                Report::Output(chunk) => output.extend_from_slice(&chunk.bytes),
                Report::Health { .. } => {}
                Report::Ended { exit, .. } if exit.code == 0 => break,
                Report::Ended { exit, .. } => bail!("the guest ended with {exit:?}"),
            }
        }
        let mut told = Told::default();
        for line in String::from_utf8_lossy(&output).lines() {
            told.hear(line);
        }
        Ok(told)
    }
}

/// What a container without requests and limits has.
const LIMITS: Limits = Limits {
    cpu_weight: 100,
    cpu_limit: None,
    memory: None,
    storage: None,
};

impl Observer for Unobserved {
    fn notice(&self, _: Notice) {}
}
