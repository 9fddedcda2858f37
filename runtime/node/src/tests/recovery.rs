//! Pod hosts that die, and agents that start anew.

use model::status::Phase;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_pod_whose_host_dies_is_made_anew() {
    let mut world = World::new();
    let handle = world.node.run_pod(pod(RestartPolicy::Always, &["app"]));
    ready(&handle).await;
    world.fake.die();
    let mut reports = handle.report();
    reports
        .wait_for(|report| report.status.containers[0].restart_count == 1)
        .await
        .unwrap();
    assert_eq!(
        world.fake.orders(),
        [
            "0 create_pod",
            "0 add_volumes",
            "0 create app",
            "0 start app",
            "0 remove app",
            "0 reset termination-log.app",
            "0 create app",
            "0 remove other",
            "0 remove_pod",
            "0 create_pod",
            "0 add_volumes",
            "0 reset termination-log.app",
            "0 create app",
            "0 start app",
        ]
    );
    let report = handle.report().borrow().clone();
    let last = report.status.containers[0].last_state.clone().unwrap();
    assert_eq!((last.exit_code, last.reason.as_str()), (137, "Error"));
    let told = world.told();
    assert!(told.contains(
        &"SandboxChanged -: Pod sandbox changed, it will be killed and re-created.".to_owned()
    ));
    handle.kill();
    handle.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_never_restarts_has_failed_with_its_host() {
    let world = World::new();
    let handle = world.node.run_pod(pod(RestartPolicy::Never, &["app"]));
    ready(&handle).await;
    world.fake.die();
    let report = handle.ended().await;
    assert_eq!(report.status.phase, Phase::Failed);
    assert_eq!(state(&report.status.containers[0]), "Error(137)");
    assert_eq!(world.fake.orders().last().unwrap(), "0 remove_pod");
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_finds_no_host_is_an_end() {
    let world = World::new();
    let handle = world.node.run_pod(pod(RestartPolicy::Always, &["app"]));
    ready(&handle).await;
    let gone = model::runtime::RuntimeError::Gone("killed".to_owned());
    world.fake.refuse("term app", &[gone]);
    handle.stop(None);
    let report = handle.ended().await;
    assert_eq!(state(&report.status.containers[0]), "Error(137)");
    assert_eq!(world.fake.orders().last().unwrap(), "0 remove_pod");
}

#[tokio::test(start_paused = true)]
async fn a_recorded_pod_goes_on() {
    let first = World::new();
    let crash = Program::Exits(Duration::ZERO, "", 1);
    first
        .fake
        .program("app", &[crash.clone(), crash, Program::Serves]);
    let spec = pod(RestartPolicy::Always, &["app"]);
    let handle = first.node.run_pod(spec.clone());
    until(&handle, "CrashLoopBackOff").await;
    let recorded = handle.report().borrow().status.clone();

    let second = World::new();
    let handle = second.node.recover_pod(spec.clone(), &recorded);
    ready(&handle).await;
    assert_eq!(second.fake.orders_of("create"), ["10 create app"]);
    let report = handle.report().borrow().clone();
    assert_eq!(report.status.containers[0].restart_count, 2);
    handle.kill();
    let report = handle.ended().await;

    let third = World::new();
    let handle = third.node.recover_pod(spec, &report.status);
    assert_eq!(handle.ended().await.status.phase, Phase::Failed);
    assert_eq!(third.fake.orders(), Vec::<String>::new());
}
