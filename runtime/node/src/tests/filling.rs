//! What a runtime is given: environment, arguments, mounts, volumes, network.

use model::container::{
    EnvFrom, EnvFromSource, EnvValue, EnvVar, KeyRef, Port, Protocol, ResourceField, Resources,
};
use model::quantity::Quantity;
use model::runtime::{Door, VolumeSource, VolumeSpec};
use model::volume::{FieldFile, FieldSource, KeyPath, Mount, ObjectFiles, Projection};
use model::volume::{Source, Volume};

use super::*;

fn variable(name: &str, value: EnvValue) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value,
    }
}

fn literal(name: &str, value: &str) -> EnvVar {
    variable(name, EnvValue::Literal(value.to_owned()))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Runs a pod of one container until it is ready.
async fn run(spec: Pod, fill: impl FnOnce(&Shelf)) -> World {
    let world = World::with(Config {
        data_dir: "/data".into(),
        node_name: "node-1".to_owned(),
        dns: Dns {
            domain: "cluster.local".to_owned(),
            ..Dns::default()
        },
        ..Config::default()
    });
    fill(&world.objects);
    let handle = world.node.run_pod(spec);
    ready(&handle).await;
    world
}

fn text(volume: &VolumeSpec) -> String {
    let VolumeSource::File(file) = &volume.source else {
        panic!("not one file: {volume:?}");
    };
    String::from_utf8(file.content.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn environment_and_arguments_are_filled_in() {
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    let app = &mut spec.containers[0];
    app.env_from = vec![EnvFrom {
        prefix: "CM_".to_owned(),
        source: EnvFromSource::ConfigMap("settings".to_owned()),
        optional: false,
    }];
    app.env = vec![
        variable("IP", EnvValue::Field("status.podIP".to_owned())),
        variable("NODE", EnvValue::Field("spec.nodeName".to_owned())),
        literal("URL", "http://$(IP)/$(CM_colour)/$(nobody)"),
        literal("FROM", "pod"),
        variable(
            "MEM",
            EnvValue::Resource(ResourceField {
                container: None,
                resource: "limits.memory".to_owned(),
                divisor: Quantity::from_units(1 << 20),
            }),
        ),
    ];
    app.resources = Resources {
        cpu_limit: Some(Quantity::from_milli(250)),
        cpu_request: Some(Quantity::from_milli(1)),
        memory_limit: Some(Quantity::from_units(64 << 20)),
        ..Resources::default()
    };
    app.args = words(&["--url=$(URL)", "$$(IP)"]);
    let mut world = run(spec, |shelf| {
        shelf.put("settings", &[("colour", "red"), ("bad=key", "x")]);
    })
    .await;
    let made = world.fake.specs().remove(0);
    assert_eq!(
        made.args,
        ["main.wasm", "--url=http://127.9.0.1/red/$(nobody)", "$(IP)"]
    );
    // What the image and the node add follows.
    assert_eq!(made.declared_env, 6);
    let env: BTreeMap<String, String> = made.env.into_iter().collect();
    let expected = [
        ("CM_colour", "red"),
        ("FROM", "pod"),
        ("HOSTNAME", "pod"),
        ("IP", "127.9.0.1"),
        ("MEM", "64"),
        ("NODE", "node-1"),
        ("PWD", "/image"),
        ("URL", "http://127.9.0.1/red/$(nobody)"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(env, expected.into());
    assert_eq!(made.working_dir, "/image");
    assert_eq!(made.limits.cpu_weight, 2);
    assert_eq!(made.limits.cpu_limit, Some(250));
    assert_eq!(made.limits.memory, Some(64 << 20));
    assert!(world.told().contains(
        &"InvalidEnvironmentVariableNames app: Keys [CM_bad=key] from the EnvFrom configMap ns/settings were skipped since they are considered invalid environment variable names.".to_owned()
    ));
}

#[tokio::test(start_paused = true)]
async fn a_working_directory_is_told_once_and_is_in_the_environment() {
    // What the image says, the manifest, a variable of the manifest, what $PWD is; told or not.
    let cases = [
        (None, None, "/image", false),
        (Some("/work"), None, "/work", true),
        (Some("/work"), Some("/mine"), "/mine", true),
        (Some("/"), None, "", false),
    ];
    for (own, variable, wanted, is_told) in cases {
        let mut spec = pod(RestartPolicy::Always, &["app"]);
        spec.containers[0].working_dir = own.map(str::to_owned);
        if let Some(value) = variable {
            spec.containers[0].env = vec![literal("PWD", value)];
        }
        let mut world = World::new();
        let crash = Program::Exits(Duration::ZERO, "", 1);
        world.fake.program("app", &[crash, Program::Serves]);
        let handle = world.node.run_pod(spec);
        let mut reports = handle.report();
        reports
            .wait_for(|report| report.status.containers[0].restart_count == 1)
            .await
            .unwrap();
        for made in world.fake.specs() {
            let declared = usize::from(variable.is_some());
            assert_eq!(made.declared_env, declared, "{own:?} {variable:?}");
            let env: BTreeMap<String, String> = made.env.into_iter().collect();
            let pwd = env.get("PWD").map_or("", String::as_str);
            assert_eq!(pwd, wanted, "{own:?} {variable:?}");
        }
        let told = world.told();
        let told = told
            .iter()
            .filter(|told| told.starts_with("WorkingDirTold app"));
        assert_eq!(told.count(), usize::from(is_told), "{own:?} {variable:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn command_replaces_the_images_entry_point_and_arguments() {
    let cases: [(&[&str], &[&str], &[&str]); 4] = [
        (&[], &[], &["main.wasm", "from-image"]),
        (&[], &["a"], &["main.wasm", "a"]),
        (&["c"], &[], &["c"]),
        (&["c"], &["a"], &["c", "a"]),
    ];
    for (command, args, expected) in cases {
        let mut spec = pod(RestartPolicy::Always, &["app"]);
        spec.containers[0].command = words(command);
        spec.containers[0].args = words(args);
        let world = run(spec, |_| {}).await;
        assert_eq!(world.fake.specs()[0].args, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn configuration_is_judged_before_the_user_and_the_program_of_the_image() {
    let settings = || {
        EnvValue::ConfigMapKey(KeyRef {
            name: "settings".to_owned(),
            key: "k".to_owned(),
            optional: false,
        })
    };
    for (image, non_root, missing, expected) in [
        ("named:v1", true, false, "CreateContainerConfigError"),
        ("named:v1", false, true, "CreateContainerConfigError"),
        ("named:v1", false, false, "CreateContainerError"),
        ("broken:v1", false, true, "CreateContainerConfigError"),
        ("broken:v1", false, false, "StartError(128)"),
    ] {
        let world = World::new();
        let mut spec = pod(RestartPolicy::Never, &["app"]);
        let container = &mut spec.containers[0];
        container.image = image.to_owned();
        container.security.run_as_non_root = non_root.then_some(true);
        if missing {
            container.env = vec![variable("A", settings())];
        }
        let handle = world.node.run_pod(spec);
        until(&handle, expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_reference_is_waited_for_and_named() {
    let world = World::new();
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    let key = |name: &str, optional| {
        EnvValue::ConfigMapKey(KeyRef {
            name: name.to_owned(),
            key: "k".to_owned(),
            optional,
        })
    };
    spec.containers[0].env = vec![
        variable("A", key("settings", false)),
        variable("B", key("none", true)),
    ];
    let handle = world.node.run_pod(spec);
    until(&handle, "CreateContainerConfigError").await;
    let report = handle.report().borrow().clone();
    let ContainerState::Waiting { message, .. } = &report.status.containers[0].state else {
        panic!("it waits");
    };
    assert_eq!(message, "configmap \"settings\" not found");
    world.objects.put("settings", &[("other", "")]);
    let changed = || {
        let node = &world.node;
        node.object_changed(ObjectKind::ConfigMap, "ns", "settings");
    };
    changed();
    let mut reports = handle.report();
    reports
        .wait_for(|report| {
            let state = &report.status.containers[0].state;
            matches!(state, ContainerState::Waiting { message, .. }
                if message == "couldn't find key k in ConfigMap ns/settings")
        })
        .await
        .unwrap();
    world.objects.put("settings", &[("k", "v")]);
    changed();
    ready(&handle).await;
    assert_eq!(
        world.fake.specs()[0].env[0],
        ("A".to_owned(), "v".to_owned())
    );
}

/// Keys of the ConfigMap `settings`, and the pod's labels.
fn all_sources() -> Vec<Projection> {
    let settings = ObjectFiles {
        name: "settings".to_owned(),
        optional: false,
        items: vec![KeyPath {
            key: "k".to_owned(),
            path: "sub/k".to_owned(),
            mode: Some(0o400),
        }],
    };
    let labels = FieldFile {
        path: "labels".to_owned(),
        field: FieldSource::Field("metadata.labels".to_owned()),
        mode: None,
    };
    vec![
        Projection::ConfigMap(settings),
        Projection::DownwardApi(vec![labels]),
    ]
}

fn volume(name: &str, source: Source) -> Volume {
    Volume {
        name: name.to_owned(),
        source,
    }
}

#[tokio::test(start_paused = true)]
async fn volumes_become_files_with_modes() {
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    let scratch = Source::EmptyDir {
        memory: true,
        size_limit: Some(Quantity::from_units(10)),
    };
    let all = Source::Projected {
        sources: all_sources(),
        default_mode: 0o644,
    };
    spec.volumes = vec![volume("scratch", scratch), volume("all", all)];
    let world = run(spec, |shelf| {
        shelf.put("settings", &[("k", "v"), ("l", "w")]);
    })
    .await;
    let sandbox = world.fake.sandbox();
    assert_eq!(sandbox.directory.to_str(), Some("/data/pods/uid"));
    let scratch = VolumeSpec {
        source: VolumeSource::Empty { memory: true },
        size_limit: Some(10),
    };
    assert_eq!(sandbox.volumes["scratch"], scratch);
    let VolumeSource::Files(files) = &sandbox.volumes["all"].source else {
        panic!("files");
    };
    let files: Vec<(&str, &[u8], u32)> = files
        .iter()
        .map(|file| (file.path.as_str(), &file.content[..], file.mode))
        .collect();
    let labels = ("labels", &b"app=\"web\""[..], 0o644);
    assert_eq!(files, [labels, ("sub/k", &b"v"[..], 0o400)]);
}

#[tokio::test(start_paused = true)]
async fn a_containers_own_mounts_come_first_and_win() {
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    let mount = |path: &str, expression: Option<&str>| Mount {
        volume: "scratch".to_owned(),
        path: path.to_owned(),
        sub_path_expr: expression.map(str::to_owned),
        ..Mount::default()
    };
    spec.containers[0].env = vec![literal("DIR", "d")];
    spec.containers[0].mounts = vec![
        mount("/scratch", Some("$(DIR)/x")),
        mount("/etc/hosts/", None),
    ];
    let world = run(spec, |_| {}).await;
    let made = world.fake.specs().remove(0);
    let mounts: Vec<(&str, &str)> = made
        .mounts
        .iter()
        .map(|mount| (mount.path.as_str(), mount.volume.as_str()))
        .collect();
    assert_eq!(
        mounts,
        [
            ("/scratch", "scratch"),
            ("/etc/hosts/", "scratch"),
            ("/etc/hostname", "etc.hostname"),
            ("/etc/resolv.conf", "etc.resolv-conf"),
            ("/dev/termination-log", "termination-log.app"),
        ]
    );
    assert_eq!(made.mounts[0].sub_path.as_deref(), Some("d/x"));
}

#[tokio::test(start_paused = true)]
async fn the_network_has_names_doors_and_files() {
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.subdomain = Some("db".to_owned());
    spec.host_aliases = vec![([127, 0, 0, 7].into(), words(&["seven", "7"]))];
    let port = |container_port, host_port| Port {
        name: None,
        container_port,
        host_port,
        host_ip: None,
        protocol: Protocol::Tcp,
    };
    spec.containers[0].ports = vec![port(80, Some(8080)), port(80, None)];
    let world = run(spec, |_| {}).await;
    let network = world.fake.sandbox().network;
    let fqdn = "pod.db.ns.svc.cluster.local";
    assert_eq!(network.names, ["pod", "pod.ns", "pod.db", fqdn]);
    let door = |host| Door {
        port: 80,
        protocol: Protocol::Tcp,
        host,
    };
    assert_eq!(
        network.doors,
        [
            door(None),
            door(Some(([0, 0, 0, 0].into(), 8080))),
            door(Some((std::net::IpAddr::from([0; 16]), 8080)))
        ]
    );
    let volumes = world.fake.volumes();
    assert_eq!(text(&volumes["etc.hostname"]), "pod\n");
    let hosts = text(&volumes["etc.hosts"]);
    assert!(hosts.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
    let own = format!("127.9.0.1\t{fqdn}\tpod\n\n# Entries added by HostAliases.\n");
    assert!(
        hosts.ends_with(&format!("{own}127.0.0.7\tseven\t7\n")),
        "{hosts}"
    );
}
