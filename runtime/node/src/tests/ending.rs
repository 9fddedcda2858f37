//! Pods that end: grace, hooks, order, whatever hangs.

use model::probe::Handler;
use model::runtime::{Event, EventSink as _, StoragePlace};
use model::status::Phase;
use model::volume::{Source, Volume};

use super::*;

/// The orders that end instances.
fn signals(fake: &Fake) -> Vec<String> {
    let is_signal = |order: &String| {
        let word = order.split(' ').nth(1);
        matches!(word, Some("term" | "kill" | "exec"))
    };
    fake.orders().into_iter().filter(is_signal).collect()
}

#[tokio::test(start_paused = true)]
async fn deletion_asks_then_kills() {
    let world = World::new();
    world.fake.program("app", &[Program::Deaf]);
    let handle = world
        .node
        .run_pod(pod(RestartPolicy::Always, &["app", "b"]));
    ready(&handle).await;
    handle.stop(None);
    let report = handle.ended().await;
    assert_eq!(
        signals(&world.fake),
        ["0 term app", "0 term b", "30 kill app"]
    );
    assert_eq!(report.status.phase, Phase::Failed);
    assert_eq!(state(&report.status.containers[0]), "Error(137)");
    assert_eq!(state(&report.status.containers[1]), "Error(143)");
}

#[tokio::test(start_paused = true)]
async fn a_second_word_makes_it_shorter() {
    let world = World::new();
    world.fake.program("app", &[Program::Deaf]);
    let handle = world.node.run_pod(pod(RestartPolicy::Always, &["app"]));
    ready(&handle).await;
    handle.stop(None);
    pass(5).await;
    handle.stop(Some(Duration::from_secs(3)));
    handle.ended().await;
    // The second TERM says that there is less time.
    assert_eq!(
        signals(&world.fake),
        ["0 term app", "5 term app", "8 kill app"]
    );
    let handle = world.node.run_pod(pod(RestartPolicy::Always, &["app"]));
    ready(&handle).await;
    handle.kill();
    handle.ended().await;
    assert_eq!(signals(&world.fake).last().unwrap(), "8 kill app");
}

#[tokio::test(start_paused = true)]
async fn hooks_run_before_term_and_share_the_grace_period() {
    let world = World::new();
    world.fake.program("app", &[Program::Deaf]);
    world
        .fake
        .program("drain", &[Program::Exits(Duration::from_secs(4), "", 0)]);
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.containers[0].pre_stop = Some(Handler::Exec(vec!["drain".to_owned()]));
    let handle = world.node.run_pod(spec.clone());
    ready(&handle).await;
    handle.stop(None);
    handle.ended().await;
    assert_eq!(
        signals(&world.fake),
        ["0 exec drain", "4 term app", "30 kill app"]
    );

    let world = World::new();
    world.fake.program("app", &[Program::Deaf]);
    spec.containers[0].pre_stop = Some(Handler::Sleep(Duration::from_secs(60)));
    let handle = world.node.run_pod(spec);
    ready(&handle).await;
    handle.stop(None);
    handle.ended().await;
    assert_eq!(signals(&world.fake), ["30 term app", "32 kill app"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_hook_is_told_and_changes_nothing() {
    let mut world = World::new();
    world
        .fake
        .program("drain", &[Program::Exits(Duration::ZERO, "no", 1)]);
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.containers[0].pre_stop = Some(Handler::Exec(vec!["drain".to_owned()]));
    let handle = world.node.run_pod(spec);
    ready(&handle).await;
    handle.stop(None);
    handle.ended().await;
    assert_eq!(signals(&world.fake), ["0 exec drain", "0 term app"]);
    let told = world.told();
    let why = "Exec lifecycle hook (drain) failed - error: command exited with 1, message: \"no\"";
    let event = format!("FailedPreStopHook app: PreStopHook failed: {why}");
    assert!(told.contains(&event), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn sidecars_end_last() {
    let world = World::new();
    world.fake.program("app", &[Program::Deaf]);
    let spec = pod(RestartPolicy::Always, &["s:one", "s:two", "app"]);
    let handle = world.node.run_pod(spec);
    ready(&handle).await;
    handle.stop(Some(Duration::from_secs(10)));
    handle.ended().await;
    assert_eq!(
        signals(&world.fake),
        ["0 term app", "10 term one", "10 term two", "10 kill app"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_active_deadline_ends_a_pod() {
    let world = World::new();
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.active_deadline = Some(Duration::from_secs(100));
    let report = world.node.run_pod(spec).ended().await;
    assert_eq!(signals(&world.fake), ["100 term app"]);
    assert_eq!(report.status.phase, Phase::Failed);
    assert_eq!(report.status.reason, "DeadlineExceeded");
}

#[tokio::test(start_paused = true)]
async fn nothing_that_hangs_keeps_a_pod_from_ending() {
    // An image that never comes.
    let world = World::new();
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.containers[0].image = "slow:v1".to_owned();
    let handle = world.node.run_pod(spec);
    until(&handle, "ContainerCreating").await;
    handle.stop(None);
    handle.ended().await;
    assert_eq!(
        world.fake.orders(),
        ["0 create_pod", "0 add_volumes", "0 remove_pod"]
    );

    // A runtime that does not answer: the instance may be there, so it is killed in the end.
    let world = World::new();
    world.fake.hang("start app");
    let handle = world.node.run_pod(pod(RestartPolicy::Always, &["app"]));
    pass(1).await;
    handle.stop(Some(Duration::from_secs(5)));
    pass(6).await;
    assert_eq!(signals(&world.fake), ["6 kill app"]);

    // A hook and a probe that never end.
    let world = World::new();
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.containers[0].post_start = Some(Handler::Exec(vec!["wait".to_owned()]));
    world.fake.hang("exec wait");
    let handle = world.node.run_pod(spec);
    pass(1).await;
    handle.stop(None);
    let report = handle.ended().await;
    assert_eq!(state(&report.status.containers[0]), "Error(143)");
}

#[tokio::test(start_paused = true)]
async fn images_are_told_to_be_pulled() {
    let mut world = World::new();
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.containers[0].image = "slow:v1".to_owned();
    let handle = world.node.run_pod(spec);
    let told = world.events.recv().await.unwrap();
    assert_eq!(told.message, "Pulling image \"slow:v1\"");
    assert_eq!(told.field_path.as_deref(), Some("spec.containers{app}"));
    handle.kill();
    handle.ended().await;
}

/// A pod with a volume on disk, one in memory, and a limit of its container's own.
fn limited() -> Pod {
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    let size = "1Mi".parse().ok();
    spec.volumes = [("disk", false), ("memory", true)]
        .map(|(name, memory)| Volume {
            name: name.to_owned(),
            source: Source::EmptyDir {
                memory,
                size_limit: size,
            },
        })
        .into();
    spec.containers[0].resources.storage_limit = "2Gi".parse().ok();
    spec
}

#[tokio::test(start_paused = true)]
async fn a_pod_over_a_storage_limit_is_evicted() {
    let cases = [
        (
            None,
            "Container app exceeded its local ephemeral storage limit \"2Gi\". ",
        ),
        (
            Some("disk"),
            "Usage of EmptyDir volume \"disk\" exceeds the limit \"1Mi\". ",
        ),
    ];
    for (volume, message) in cases {
        let mut world = World::new();
        world.fake.program("app", &[Program::Deaf]);
        let handle = world.node.run_pod(limited());
        ready(&handle).await;
        let app = world.fake.specs().remove(0);
        let volume = volume.map(|name: &str| StoragePlace::Volume(name.to_owned()));
        world.node.shared.router.event_now(Event::StorageFull {
            pod: app.pod,
            place: volume.unwrap_or(StoragePlace::Instance(app.id)),
            limit: 1 << 20,
        });
        let report = handle.ended().await;
        assert_eq!(report.status.phase, Phase::Failed);
        assert_eq!(report.status.reason, "Evicted");
        assert_eq!(report.status.message, message);
        assert_eq!(signals(&world.fake), ["0 term app", "2 kill app"]);
        let told = world.told();
        assert!(told.contains(&format!("Evicted -: {message}")), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_volume_in_memory_evicts_nobody() {
    let mut world = World::new();
    let handle = world.node.run_pod(limited());
    ready(&handle).await;
    let app = world.fake.specs().remove(0);
    world.node.shared.router.event_now(Event::StorageFull {
        pod: app.pod,
        place: StoragePlace::Volume("memory".to_owned()),
        limit: 1 << 20,
    });
    pass(1).await;
    let told = world.told();
    assert!(
        told.last()
            .unwrap()
            .starts_with("StorageLimitReached -: emptyDir volume \"memory\""),
        "{told:?}"
    );
    handle.stop(None);
    assert_eq!(handle.ended().await.status.reason, "");
}
