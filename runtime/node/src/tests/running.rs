//! Pods that run: order, restarts, images, objects.

use model::lifecycle::Place;
use model::runtime::{Event, EventSink as _, RuntimeError};
use model::status::Phase;
use model::volume::{ObjectFiles, Projection, Source, Volume};

use super::*;
use crate::Role;

#[tokio::test(start_paused = true)]
async fn a_pod_from_beginning_to_end() {
    let mut world = World::new();
    world
        .fake
        .program("app", &[Program::Exits(Duration::from_secs(3), "", 0)]);
    let handle = world.node.run_pod(pod(RestartPolicy::Never, &["app"]));
    assert!(!handle.report().borrow().over);
    let report = handle.ended().await;
    assert!(report.over);
    assert_eq!(report.status.phase, Phase::Succeeded);
    assert_eq!(state(&report.status.containers[0]), "Completed(0)");
    assert_eq!(report.status.containers[0].image_id, "sha256:app:v1");
    assert_eq!(report.usage[0].cpu, Duration::from_millis(5));
    assert_eq!(report.usage[0].memory_peak, 1 << 20);
    assert_eq!(
        world.fake.orders(),
        [
            "0 create_pod",
            "0 add_volumes",
            "0 create app",
            "0 start app",
            "3 remove_pod",
        ]
    );
    assert_eq!(
        world.told(),
        [
            "Pulled app: Container image \"app:v1\" already present on machine and can be accessed by the pod",
            "Created app: Container created",
            "Started app: Container started",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_keeps_kubelets_times() {
    let world = World::new();
    let crash = Program::Exits(Duration::ZERO, "", 1);
    let mut programs = vec![crash; 6];
    programs.push(Program::Exits(Duration::ZERO, "", 0));
    world.fake.program("app", &programs);
    let handle = world.node.run_pod(pod(RestartPolicy::OnFailure, &["app"]));
    let report = handle.ended().await;
    assert_eq!(report.status.phase, Phase::Succeeded);
    assert_eq!(report.status.containers[0].restart_count, 6);
    assert_eq!(
        world.fake.orders_of("create"),
        [
            "0 create app",
            "0 create app",
            "10 create app",
            "30 create app",
            "70 create app",
            "150 create app",
            "310 create app",
        ]
    );
    assert_eq!(
        world.fake.orders_of("reset").first().map(String::as_str),
        Some("0 reset termination-log.app")
    );
}

#[tokio::test(start_paused = true)]
async fn init_containers_sidecars_and_main_containers() {
    let world = World::new();
    let second = |code| Program::Exits(Duration::from_secs(1), "", code);
    world.fake.program("setup", &[second(0)]);
    world.fake.program("app", &[second(0)]);
    let spec = pod(RestartPolicy::Never, &["s:proxy", "i:setup", "app"]);
    let report = world.node.run_pod(spec).ended().await;
    assert_eq!(report.status.phase, Phase::Succeeded);
    assert_eq!(
        world.fake.orders(),
        [
            "0 create_pod",
            "0 add_volumes",
            "0 create proxy",
            "0 start proxy",
            "0 create setup",
            "0 start setup",
            "1 remove setup",
            "1 create app",
            "1 start app",
            "2 remove app",
            "2 term proxy",
            "2 remove_pod",
        ]
    );
    let roles: Vec<(&str, Role)> = report
        .usage
        .iter()
        .map(|usage| (usage.container.as_str(), usage.role))
        .collect();
    assert_eq!(
        roles,
        [
            ("proxy", Role::Sidecar),
            ("setup", Role::Init),
            ("app", Role::Main)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_not_there_is_tried_again() {
    let mut world = World::new();
    let mut spec = pod(RestartPolicy::Never, &["app"]);
    spec.containers[0].image = "none:v1".to_owned();
    let handle = world.node.run_pod(spec);
    until(&handle, "ErrImagePull").await;
    until(&handle, "ImagePullBackOff").await;
    handle.stop(None);
    let report = handle.ended().await;
    assert_eq!(report.status.phase, Phase::Failed);
    let told = world.told();
    assert!(told.contains(&"BackOff app: Back-off pulling image \"none:v1\"".to_owned()));
    assert_eq!(world.fake.orders_of("create"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_happens_on_an_images_way_is_told() {
    let mut world = World::new();
    world
        .fake
        .program("app", &[Program::Exits(Duration::ZERO, "", 0)]);
    let mut spec = pod(RestartPolicy::Never, &["app"]);
    spec.containers[0].image = "left:v1".to_owned();
    spec.image_pull_secrets = vec!["a".to_owned(), "b".to_owned()];
    world.node.run_pod(spec).ended().await;
    let told = world.told();
    let secrets = "FailedToRetrieveImagePullSecret -: Unable to retrieve some image pull secrets (a, b); attempting to pull the image may not succeed.";
    let devices = "SkippedDevices app: devices were left out";
    for wanted in [secrets, devices] {
        assert!(told.iter().any(|line| line == wanted), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_whose_user_nobody_knows_is_not_run() {
    let world = World::new();
    let mut spec = pod(RestartPolicy::Never, &["app"]);
    spec.containers[0].image = "named:v1".to_owned();
    let handle = world.node.run_pod(spec);
    until(&handle, "CreateContainerError").await;
    handle.stop(None);
    handle.ended().await;
    assert_eq!(world.fake.orders_of("create"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_missing_volume_source_is_waited_for() {
    let mut world = World::new();
    world
        .fake
        .program("app", &[Program::Exits(Duration::ZERO, "", 0)]);
    let mut spec = pod(RestartPolicy::Never, &["app"]);
    spec.volumes = vec![settings(false)];
    let handle = world.node.run_pod(spec);
    // Nothing polls: without a change nothing happens, however long it takes.
    pass(3600).await;
    assert_eq!(world.fake.orders(), Vec::<String>::new());
    world.objects.put("settings", &[("k", "v")]);
    world
        .node
        .object_changed(ObjectKind::ConfigMap, "other", "settings");
    world
        .node
        .object_changed(ObjectKind::Secret, "ns", "settings");
    world
        .node
        .object_changed(ObjectKind::ConfigMap, "ns", "settings");
    assert_eq!(handle.ended().await.status.phase, Phase::Succeeded);
    assert_eq!(
        world.told()[0],
        "FailedMount -: MountVolume.SetUp failed for volume \"settings\" : configmap \"settings\" not found"
    );
}

#[tokio::test(start_paused = true)]
async fn changed_objects_change_the_files_of_a_running_pod() {
    let world = World::new();
    let mut spec = pod(RestartPolicy::Never, &["app"]);
    spec.volumes = vec![settings(true)];
    let handle = world.node.run_pod(spec);
    ready(&handle).await;
    world.objects.put("settings", &[("k", "v2")]);
    world
        .node
        .object_changed(ObjectKind::ConfigMap, "ns", "settings");
    handle.stop(None);
    handle.ended().await;
    assert_eq!(world.fake.orders_of("files"), ["0 files settings k=v2"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_instance_is_tried_again_and_a_bad_module_is_an_end() {
    let world = World::new();
    let refused = RuntimeError::Exhausted("no room".to_owned());
    world.fake.refuse("create app", &[refused.clone(), refused]);
    world
        .fake
        .program("app", &[Program::Exits(Duration::ZERO, "", 0)]);
    let handle = world.node.run_pod(pod(RestartPolicy::Never, &["app"]));
    until(&handle, "CreateContainerError").await;
    assert_eq!(handle.ended().await.status.phase, Phase::Succeeded);
    assert_eq!(
        world.fake.orders_of("create"),
        ["0 create app", "10 create app", "30 create app"]
    );
    let bad = RuntimeError::CannotRun("unknown import".to_owned());
    world.fake.refuse("create app", &[bad]);
    let report = world
        .node
        .run_pod(pod(RestartPolicy::Never, &["app"]))
        .ended()
        .await;
    assert_eq!(state(&report.status.containers[0]), "StartError(128)");
    assert_eq!(report.status.phase, Phase::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_is_tried_again() {
    let mut world = World::new();
    let full = RuntimeError::Exhausted("no address left".to_owned());
    world.fake.refuse("create_pod", &[full]);
    world
        .fake
        .program("app", &[Program::Exits(Duration::ZERO, "", 0)]);
    let handle = world.node.run_pod(pod(RestartPolicy::Never, &["app"]));
    handle.ended().await;
    assert_eq!(
        world.fake.orders_of("create_pod"),
        ["0 create_pod", "10 create_pod"]
    );
    assert_eq!(
        world.told()[0],
        "FailedCreatePodSandBox -: Failed to create pod sandbox: no address left"
    );
}

#[tokio::test(start_paused = true)]
async fn notices_and_health_find_their_container() {
    let mut world = World::new();
    let handle = world.node.run_pod(pod(RestartPolicy::Never, &["app"]));
    ready(&handle).await;
    let spec = world.fake.specs().remove(0);
    let router = &world.node.shared.router;
    router.event_now(Event::Notice {
        pod: spec.pod,
        instance: Some(spec.id),
        warning: true,
        reason: "DoorClosed".to_owned(),
        message: "port taken".to_owned(),
    });
    router.event_now(Event::Health {
        instance: spec.id,
        ready: false,
        message: "busy".to_owned(),
    });
    let mut reports = handle.report();
    reports
        .wait_for(|report| !report.status.containers[0].ready)
        .await
        .unwrap();
    let told = world.told();
    assert_eq!(told.last().unwrap(), "DoorClosed app: port taken");
    assert_eq!(
        Place::Main(0).field_path(&pod(RestartPolicy::Never, &["app"])),
        "spec.containers{app}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_dropped_ends_its_events() {
    let world = World::new();
    world
        .fake
        .program("app", &[Program::Exits(Duration::ZERO, "", 0)]);
    let handle = world.node.run_pod(pod(RestartPolicy::Never, &["app"]));
    handle.ended().await;
    let mut events = world.events;
    drop(world.node);
    let mut count = 0;
    while events.recv().await.is_ok() {
        count += 1;
    }
    assert_eq!(count, 3);
    assert_eq!(handle.identity().name, "pod");
}

/// A volume from the ConfigMap `settings`.
fn settings(optional: bool) -> Volume {
    Volume {
        name: "settings".to_owned(),
        source: Source::Projected {
            sources: vec![Projection::ConfigMap(ObjectFiles {
                name: "settings".to_owned(),
                optional,
                items: Vec::new(),
            })],
            default_mode: 0o644,
        },
    }
}
