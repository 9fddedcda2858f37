//! Logs and last words.

use model::runtime::Stream;
use tokio::sync::mpsc;

use super::*;

/// Sends every line on, through a channel of this many.
struct Tap(mpsc::Sender<LogLine>);

impl LogSink for Tap {
    fn line(&self, line: LogLine) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            // A test that looks at no more lines has dropped the other end.
            let _ = self.0.send(line).await;
        })
    }
}

fn tapped(room: usize, config: Config) -> (World, mpsc::Receiver<LogLine>) {
    let (sender, lines) = mpsc::channel(room);
    let config = Config {
        sink: Some(Arc::new(Tap(sender))),
        ..config
    };
    (World::with(config), lines)
}

#[tokio::test(start_paused = true)]
async fn lines_go_to_the_sink_and_to_files_by_attempt() {
    let logs = tempfile::tempdir().unwrap();
    let config = Config {
        logs: Some(logs.path().to_owned()),
        ..Config::default()
    };
    let (world, mut lines) = tapped(16, config);
    world.fake.program(
        "app",
        &[
            Program::Exits(Duration::ZERO, "one\ntwo", 1),
            Program::Exits(Duration::ZERO, "three\n", 0),
        ],
    );
    let handle = world.node.run_pod(pod(RestartPolicy::OnFailure, &["app"]));
    handle.ended().await;
    let mut seen = Vec::new();
    while let Ok(line) = lines.try_recv() {
        assert_eq!(line.stream, Stream::Stdout);
        assert_eq!((line.pod.name.as_str(), &*line.container), ("pod", "app"));
        seen.push((line.attempt, String::from_utf8(line.text.to_vec()).unwrap()));
    }
    let expected = [(0, "one"), (0, "two"), (1, "three")];
    assert_eq!(
        seen,
        expected.map(|(attempt, text)| (attempt, text.to_owned()))
    );
    let read = |attempt: u32| {
        let path = logs.path().join(format!("ns_pod_uid/app/{attempt}.log"));
        let text = std::fs::read_to_string(path).unwrap();
        let texts = text
            .lines()
            .map(|line| line.splitn(4, ' ').last().unwrap().to_owned());
        texts.collect::<Vec<String>>()
    };
    assert_eq!(read(0), ["one", "two"]);
    assert_eq!(read(1), ["three"]);
}

/// Writes down every line and every Event, as they come.
#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl LogSink for Diary {
    fn line(&self, line: LogLine) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let text = String::from_utf8_lossy(&line.text).into_owned();
        self.0.lock().unwrap().push(text);
        Box::pin(std::future::ready(()))
    }

    fn event(&self, event: &PodEvent) {
        self.0.lock().unwrap().push(event.reason.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn events_and_lines_come_in_the_order_in_which_they_happened() {
    let diary = Arc::new(Diary::default());
    let config = Config {
        sink: Some(Arc::clone(&diary) as Arc<dyn LogSink>),
        ..Config::default()
    };
    let world = World::with(config);
    let second = Duration::from_secs(1);
    world.fake.program(
        "app",
        &[
            Program::Exits(second, "one", 1),
            Program::Exits(second, "two\n", 1),
            Program::Exits(second, "three\n", 0),
        ],
    );
    let handle = world.node.run_pod(pod(RestartPolicy::OnFailure, &["app"]));
    handle.ended().await;
    let of_interest = ["Started", "BackOff", "one", "two", "three"];
    let diary = diary.0.lock().unwrap();
    let seen: Vec<&str> = diary
        .iter()
        .map(String::as_str)
        .filter(|entry| of_interest.contains(entry))
        .collect();
    assert_eq!(
        seen,
        [
            "Started", "one", "Started", "two", "BackOff", "Started", "three"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_terminal_that_takes_nothing_does_not_keep_others_waiting() {
    let (world, mut lines) = tapped(1, Config::default());
    world
        .fake
        .program("loud", &[Program::Exits(Duration::ZERO, "1\n2\n3", 0)]);
    let handle = world
        .node
        .run_pod(pod(RestartPolicy::Never, &["loud", "app"]));
    let mut reports = handle.report();
    reports
        .wait_for(|report| state(&report.status.containers[1]) == "Running")
        .await
        .unwrap();
    // Its output is not taken, so it has not ended; the other container hears a stop all the same.
    handle.stop(None);
    reports
        .wait_for(|report| state(&report.status.containers[1]) == "Error(143)")
        .await
        .unwrap();
    assert_eq!(
        state(&handle.report().borrow().status.containers[0]),
        "Running"
    );
    while lines
        .recv()
        .await
        .is_some_and(|line| &line.text[..] != b"3")
    {}
    handle.ended().await;
}

#[tokio::test(start_paused = true)]
async fn last_words_come_from_the_file_or_else_from_the_log() {
    let cases = [
        (true, "from the file", 1, "from the file"),
        (true, "", 1, "from\nthe log"),
        (true, "", 0, ""),
        (false, "", 1, ""),
    ];
    for (from_logs, file, code, expected) in cases {
        let world = World::new();
        world.fake.program(
            "app",
            &[Program::Exits(Duration::ZERO, "from\nthe log", code)],
        );
        world.fake.write_file("termination-log.app", file);
        let mut spec = pod(RestartPolicy::Never, &["app"]);
        spec.containers[0].termination_message_from_logs = from_logs;
        let report = world.node.run_pod(spec).ended().await;
        let ContainerState::Terminated(ended) = &report.status.containers[0].state else {
            panic!("it has ended");
        };
        assert_eq!(ended.message, expected, "{from_logs} {file:?} {code}");
    }
}

#[tokio::test(start_paused = true)]
async fn last_words_are_bounded_by_container_and_pod() {
    let long: &'static str = "x".repeat(5000).leak();
    for (containers, expected) in [(1, 4096), (6, 2048)] {
        let world = World::new();
        let names: Vec<String> = (0..containers).map(|index| format!("c{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for name in &names {
            world
                .fake
                .program(name, &[Program::Exits(Duration::ZERO, "", 1)]);
            world
                .fake
                .write_file(&format!("termination-log.{name}"), long);
        }
        let report = world
            .node
            .run_pod(pod(RestartPolicy::Never, &names))
            .ended()
            .await;
        for container in &report.status.containers {
            let ContainerState::Terminated(ended) = &container.state else {
                panic!("it has ended");
            };
            assert_eq!(ended.message.len(), expected);
        }
    }
}
