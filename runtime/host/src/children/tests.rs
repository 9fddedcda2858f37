//! Orders in the order of the calls, whoever asks for which answer first.

use std::pin::Pin;

use model::runtime::{Event, Limits, PodNetwork, WasmImage};
use net::PodRange;

use super::*;
use crate::exec::Compiling;
use crate::protocol::Order;

struct Nobody;

impl EventSink for Nobody {
    fn event(&self, _: Event) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    fn event_now(&self, _: Event) {}
}

impl Compiler for Nobody {
    fn compile(&self, _: Bytes) -> Compiling<'_> {
        Box::pin(std::future::pending())
    }
}

/// Children whose shared one is there already, and takes as many as come.
fn with(child: &Child) -> Children {
    with_room(child, usize::MAX)
}

/// The same of so many containers.
fn with_room(child: &Child, containers: usize) -> Children {
    let children = Children::new(ChildrenConfig {
        program: "/nowhere".into(),
        args: |_, _| Vec::new(),
        steering: None,
        confinement: Confinement::default(),
        range: PodRange::LOOPBACK,
        one_per_pod: false,
        containers,
        sink: Arc::new(Nobody),
        compiler: Arc::new(Nobody),
    });
    children.state().shared = vec![Shared {
        child: child.clone(),
        containers: 0,
    }];
    children
}

fn sandbox(id: u64) -> PodSandbox {
    PodSandbox {
        id: PodId(id),
        uid: "uid".to_owned(),
        namespace: "ns".to_owned(),
        name: "p".to_owned(),
        labels: Default::default(),
        annotations: Default::default(),
        node_name: "node".to_owned(),
        network: PodNetwork {
            host: true,
            ..PodNetwork::default()
        },
        volumes: Default::default(),
        commands: false,
        directory: "/nowhere".into(),
        containers: 1,
    }
}

fn instance(id: u64, pod: u64) -> InstanceSpec {
    InstanceSpec {
        id: InstanceId(id),
        pod: PodId(pod),
        container: "c".to_owned(),
        image: WasmImage {
            code: PathBuf::new(),
            digest: String::new(),
            root: None,
        },
        args: Vec::new(),
        env: Vec::new(),
        declared_env: 0,
        working_dir: "/".to_owned(),
        mounts: Vec::new(),
        read_only_root: false,
        limits: Limits {
            cpu_weight: 100,
            cpu_limit: None,
            memory: None,
            storage: None,
        },
        stdin: false,
        tty: false,
        ports: Vec::new(),
        grace_period: Duration::ZERO,
    }
}

fn exec(id: u64, target: u64) -> ExecSpec {
    ExecSpec {
        id: InstanceId(id),
        target: InstanceId(target),
        command: Vec::new(),
        stdin: false,
        tty: false,
    }
}

fn word(order: &Order) -> &'static str {
    match order {
        Order::CreatePod(..) => "create pod",
        Order::RemovePod(_) => "remove pod",
        Order::Create(_) => "create",
        Order::Exec(_) => "exec",
        Order::Remove(_) => "remove",
        _ => "another",
    }
}

#[tokio::test]
async fn what_is_ordered_first_is_sent_first_though_nobody_waits_for_it() {
    let (child, orders) = Child::unheard();
    let children = with(&child);
    let made = children.create_pod(sandbox(1));
    let created = children.create(instance(10, 1));
    let executed = children.exec(exec(11, 10));
    let removed = children.remove_pod(PodId(1));
    // Too late: neither is sent, and nobody owns what was asked for.
    let too_late = [
        children.create(instance(12, 1)),
        children.exec(exec(13, 10)),
    ];
    // Answers may be asked for in any order, or not at all.
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for mut answer in too_late {
        let answer = answer.as_mut().poll(&mut cx);
        assert!(
            matches!(
                answer,
                std::task::Poll::Ready(Err(RuntimeError::NotFound(_)))
            ),
            "{answer:?}"
        );
    }
    drop((removed, executed, created, made));
    let sent: Vec<_> = orders.map(|order| word(&order)).collect();
    assert_eq!(sent, ["create pod", "create", "exec", "remove pod"]);
    let state = children.state();
    assert!(state.pods.is_empty() && state.instances.is_empty());
}

#[tokio::test]
async fn a_pod_removed_by_one_thread_and_given_more_by_another_leaves_no_owner() {
    let (child, orders) = Child::unheard();
    let children = with(&child);
    let pods = 200_u64;
    for pod in 0..pods {
        drop(children.create_pod(sandbox(pod)));
    }
    std::thread::scope(|scope| {
        scope.spawn(|| (0..pods).for_each(|pod| drop(children.remove_pod(PodId(pod)))));
        scope.spawn(|| (0..pods).for_each(|pod| drop(children.create(instance(pod, pod)))));
    });
    assert!(children.state().instances.is_empty());
    // Whoever came first is in the orders: none to a pod that was removed.
    let mut gone = std::collections::HashSet::new();
    for order in orders {
        match order {
            Order::RemovePod(pod) => drop(gone.insert(pod)),
            Order::Create(spec) => assert!(!gone.contains(&spec.pod), "{:?}", spec.pod),
            _ => {}
        }
    }
    assert_eq!(gone.len() as u64, pods);
}

#[tokio::test]
async fn a_child_takes_so_many_containers_and_an_empty_one_ends() {
    let (first, _first) = Child::unheard();
    let (second, _second) = Child::unheard();
    let children = with_room(&first, 3);
    children.state().shared.push(Shared {
        child: second.clone(),
        containers: 1,
    });
    let of = |id, containers| PodSandbox {
        containers,
        ..sandbox(id)
    };
    let counts = || {
        let state = children.state();
        let counts = state.shared.iter().map(|it| it.containers);
        counts.collect::<Vec<_>>()
    };
    // More than any takes find a child of their own all the same.
    for (id, containers, wanted) in [(1, 4, [4, 1]), (2, 1, [4, 2]), (3, 1, [4, 3])] {
        drop(children.create_pod(of(id, containers)));
        assert_eq!(counts(), wanted);
    }
    // Both are full, and there is no program for another one.
    let refused = children.create_pod(of(4, 1)).await;
    assert!(
        matches!(refused, Err(RuntimeError::Exhausted(_))),
        "{refused:?}"
    );
    drop(children.remove_pod(PodId(3)));
    drop(children.remove_pod(PodId(9)));
    assert_eq!(counts(), [4, 2]);
    drop(children.remove_pod(PodId(1)));
    assert_eq!(counts(), [2]);
    assert!(children.state().shared[0].child.is(&second));
    drop(children.create_pod(of(5, 1)));
    assert_eq!(counts(), [3]);
}
