//! Images of a real registry: Debian's docker-registry, with a password, and with faults on the way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;
use serde_json::json;

use crate::harness::{Fault, Images, Pod, Registry, Run, USER, docker_config, guest, skip};
use crate::images::sha256;

/// Every test has a folder of its own.
fn home() -> anyhow::Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new()
        .prefix("wasmpod-registries-")
        .tempdir()?)
}

/// Packs the guest `hello` under a name; answers what was printed.
fn pack(images: &Images, reference: &str) -> anyhow::Result<String> {
    let hello = guest("hello")?.display().to_string();
    images.good(&["pack", &hello, "-t", reference])
}

/// Packs it and pushes it; answers what was printed, twice the same.
fn push(images: &Images, reference: &str) -> anyhow::Result<String> {
    let packed = pack(images, reference)?;
    let pushed = images.good(&["push", reference])?;
    ensure!(pushed == packed, "{pushed} {packed}");
    Ok(pushed)
}

/// A registry that asks for nothing, with that image in it as `hello:1`; nothing where there is no
/// registry.
fn stocked() -> anyhow::Result<Option<Registry>> {
    let Some(registry) = Registry::start(false)? else {
        return Ok(None);
    };
    let home = home()?;
    let images = Images::new(home.path());
    push(&images, &format!("{}/hello:1", registry.host))?;
    Ok(Some(registry))
}

#[test]
fn what_is_pushed_with_a_password_is_pulled_with_it_alone() -> anyhow::Result<()> {
    let Some(registry) = Registry::start(true)? else {
        return Ok(());
    };
    let home = home()?;
    let config = docker_config(&home.path().join("docker"), &registry.host)?;
    let reference = format!("{}/team/hello:1", registry.host);
    let mine = Images::new(&home.path().join("mine")).with("DOCKER_CONFIG", &config);
    let packed = push(&mine, &reference)?;
    let stranger = Images::new(&home.path().join("stranger"));
    for command in ["pull", "push"] {
        if command == "push" {
            pack(&stranger, &reference)?;
        }
        let error = stranger.bad(&[command, &reference])?;
        ensure!(error.contains("access denied"), "{error}");
    }
    let friend = Images::new(&home.path().join("friend")).with("DOCKER_CONFIG", &config);
    let pulled = friend.good(&["pull", &reference])?;
    ensure!(pulled == packed, "{pulled} {packed}");
    Ok(())
}

#[test]
fn a_pod_pulls_with_the_secrets_of_its_manifest() -> anyhow::Result<()> {
    let Some(registry) = Registry::start(true)? else {
        return Ok(());
    };
    let home = home()?;
    let config = docker_config(&home.path().join("docker"), &registry.host)?;
    let reference = format!("{}/hello:1", registry.host);
    let mine = Images::new(&home.path().join("mine")).with("DOCKER_CONFIG", &config);
    push(&mine, &reference)?;
    let (username, password) = USER;
    let auths = json!({"auths": {&registry.host: {"username": username, "password": password}}});
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": auths.to_string()},
    });
    let with = Pod::one("hello", &[], json!({}))
        .image(&reference)
        .spec(json!({"imagePullSecrets": [{"name": "pull"}]}));
    let manifest = format!("---\n{secret}\n{with}");
    let nowhere = home.path().join("nowhere");
    let ended = Run::of(manifest)?
        .private_data()
        .variable("DOCKER_CONFIG", &nowhere)
        .finish()?;
    ensure!(ended.code == Some(0), "{}", ended.said.transcript());
    for reason in ["Pulling", "Pulled", "Created", "Started"] {
        let mut lines = ended.said.lines.iter();
        ensure!(
            lines.any(|line| line.event("p", reason).is_some()),
            "{reason}: {}",
            ended.said.transcript()
        );
    }
    let without = Pod::one("hello", &[], json!({})).image(&reference);
    let mut running = Run::of(without)?
        .private_data()
        .variable("DOCKER_CONFIG", &nowhere)
        .start()?;
    let status = running.wait_container("p", "c", "ErrImagePull", |status| {
        status["state"]["waiting"]["reason"] == "ErrImagePull"
    })?;
    ensure!(status.to_string().contains("access denied"), "{status}");
    Ok(())
}

#[test]
fn an_image_that_is_here_needs_no_registry() -> anyhow::Result<()> {
    let Some(registry) = stocked()? else {
        return Ok(());
    };
    let home = home()?;
    let reference = format!("{}/hello:1", registry.host);
    let data = home.path().join("data");
    let run = |policy: &str| {
        let fields = json!({"imagePullPolicy": policy});
        let pod = Pod::one("hello", &[], fields).image(&reference);
        Run::of(pod).map(|run| run.data(&data))
    };
    for policy in ["IfNotPresent", "Always"] {
        let ended = run(policy)?.finish()?;
        ensure!(
            ended.code == Some(0),
            "{policy}: {}",
            ended.said.transcript()
        );
    }
    drop(registry);
    for policy in ["IfNotPresent", "Never"] {
        let ended = run(policy)?.finish()?;
        ensure!(
            ended.code == Some(0),
            "{policy}: {}",
            ended.said.transcript()
        );
    }
    let mut running = run("Always")?.start()?;
    let status = running.wait_container("p", "c", "ErrImagePull", |status| {
        status["state"]["waiting"]["reason"] == "ErrImagePull"
    })?;
    let remedy = "the image is here, and `imagePullPolicy: IfNotPresent` would use it";
    ensure!(status.to_string().contains(remedy), "{status}");
    Ok(())
}

#[test]
fn what_was_changed_on_the_disk_is_fetched_anew_where_the_policy_lets_us() -> anyhow::Result<()> {
    let Some(registry) = stocked()? else {
        return Ok(());
    };
    let home = home()?;
    let data = home.path().join("data");
    let reference = format!("{}/hello:1", registry.host);
    Images::new(&data).good(&["pull", &reference])?;
    let wasm = fs::read(guest("hello")?)?;
    let blob = data.join("content/blobs/sha256").join(sha256(&wasm));
    let run = |policy: &str| {
        let fields = json!({"imagePullPolicy": policy});
        let pod = Pod::one("hello", &[], fields).image(&reference);
        Run::of(pod).map(|run| run.data(&data))
    };
    let damage = || -> anyhow::Result<()> {
        // What was compiled before would run without it.
        fs::remove_dir_all(data.join("code")).ok();
        Ok(fs::write(&blob, vec![0; wasm.len()])?)
    };
    damage()?;
    let mut running = run("Never")?.start()?;
    let status = running.wait_container("p", "c", "ErrImageNeverPull", |status| {
        status["state"]["waiting"]["reason"] == "ErrImageNeverPull"
    })?;
    let remedy = format!("`wasmpod image pull {reference}`");
    for wanted in [reference.as_str(), &sha256(&wasm), &remedy] {
        ensure!(status.to_string().contains(wanted), "{wanted}: {status}");
    }
    running.signal(rustix::process::Signal::KILL)?;
    running.finish()?;
    for policy in ["IfNotPresent", "Always"] {
        damage()?;
        let ended = run(policy)?.finish()?;
        let said = ended.said.transcript();
        ensure!(ended.code == Some(0), "{policy}: {said}");
        ensure!(fs::read(&blob)? == wasm, "{policy}: it is right again");
    }
    damage()?;
    let ended = Run::new()?.data(&data).args([&*reference]).finish()?;
    ensure!(ended.code == Some(0), "{}", ended.said.transcript());
    Ok(())
}

#[test]
fn what_the_registry_has_no_more_is_what_its_name_leads_to_by_now() -> anyhow::Result<()> {
    let Some(registry) = stocked()? else {
        return Ok(());
    };
    let home = home()?;
    let data = home.path().join("data");
    let reference = format!("{}/hello:1", registry.host);
    let images = Images::new(&data);
    let other = guest("host")?;
    let blob = data.join("content/blobs/sha256");
    let blob = blob.join(sha256(&fs::read(&other)?));
    let hello = sha256(&fs::read(guest("hello")?)?);
    for is_missing in [false, true] {
        // Under that name the registry has another image.
        images.good(&["pack", &other.display().to_string(), "-t", &reference])?;
        match is_missing {
            true => fs::remove_file(&blob)?,
            false => fs::write(&blob, vec![0; usize::try_from(fs::metadata(&blob)?.len())?])?,
        }
        // What was compiled before would run without it.
        fs::remove_dir_all(data.join("code")).ok();
        let pod = Pod::one("hello", &[], json!({"imagePullPolicy": "IfNotPresent"}));
        let ended = Run::of(pod.image(&reference))?.data(&data).finish()?;
        ensure!(ended.code == Some(0), "{}", ended.said.transcript());
        let told = images.good(&["inspect", &reference])?;
        ensure!(told.contains(&hello), "{told}");
    }
    Ok(())
}

#[test]
fn faults_on_the_way_are_outlived_or_told() -> anyhow::Result<()> {
    let Some(registry) = stocked()? else {
        return Ok(());
    };
    let size = usize::try_from(fs::metadata(guest("hello")?)?.len())?;
    let is_layer = |path: &str| path.contains("/blobs/");
    let cut =
        registry.proxy(
            move |method, path, before| match method == "GET" && is_layer(path) {
                true if before == 0 => Fault::Cut(size / 2),
                _ => Fault::None,
            },
        )?;
    let busy = registry.proxy(|_, _, before| match before {
        0 => Fault::Busy(0),
        _ => Fault::None,
    })?;
    let changed =
        registry.proxy(
            move |method, path, _| match method == "GET" && is_layer(path) {
                true => Fault::Changed,
                false => Fault::None,
            },
        )?;
    let stubborn = registry.proxy(|_, _, _| Fault::Busy(3600))?;
    let home = home()?;
    for (proxy, name) in [(&cut, "cut"), (&busy, "busy")] {
        let images = Images::new(&home.path().join(name));
        images.good(&["pull", &format!("{}/hello:1", proxy.host)])?;
    }
    ensure!(
        cut.count("GET /v2/hello/blobs/") >= 3,
        "a broken blob was asked for again"
    );
    for (proxy, name, wanted) in [
        (&changed, "changed", "has the digest"),
        (&stubborn, "stubborn", "try again in 3600 s"),
    ] {
        let images = Images::new(&home.path().join(name));
        let error = images.bad(&["pull", &format!("{}/hello:1", proxy.host)])?;
        ensure!(error.contains(wanted), "{name}: {error}");
        ensure!(
            images.good(&["ls", "-q"])?.is_empty(),
            "{name}: nothing has a name"
        );
    }
    Ok(())
}

#[test]
fn two_runs_at_once_pull_and_compile_once() -> anyhow::Result<()> {
    let Some(registry) = stocked()? else {
        return Ok(());
    };
    let proxy = registry.proxy(|_, _, _| Fault::None)?;
    let home = home()?;
    let reference = format!("{}/hello:1", proxy.host);
    let data = home.path().join("data");
    let run =
        || Run::of(Pod::one("hello", &[], json!({})).image(&reference)).map(|it| it.data(&data));
    let (first, second) = (run()?.start()?, run()?.start()?);
    for ended in [first.finish()?, second.finish()?] {
        ensure!(ended.code == Some(0), "{}", ended.said.transcript());
    }
    // The configuration and the layer.
    ensure!(proxy.count("GET /v2/hello/blobs/") == 2, "each blob once");
    let code = fs::read_dir(data.join("code"))?.flatten();
    let code = code.filter(|entry| entry.path().extension().is_some_and(|it| it == "cwasm"));
    ensure!(code.count() == 1, "compiled once");
    Ok(())
}

#[test]
fn a_mirror_serves_what_its_registry_would() -> anyhow::Result<()> {
    let Some(registry) = stocked()? else {
        return Ok(());
    };
    let home = home()?;
    let settings = home.path().join("certs.d/absent.invalid");
    fs::create_dir_all(&settings)?;
    let host = &registry.host;
    let text = format!("[host.\"http://{host}\"]\ncapabilities = [\"pull\", \"resolve\"]\n");
    fs::write(settings.join("hosts.toml"), text)?;
    let images = Images::new(&home.path().join("data"))
        .with("WASMPOD_REGISTRIES", &home.path().join("certs.d"));
    images.good(&["pull", "absent.invalid/hello:1"])?;
    ensure!(images.good(&["ls"])?.contains("absent.invalid/hello"));
    Ok(())
}

/// A certificate for 127.0.0.1 that signs itself, and its key; nothing where nobody makes any.
fn certificate(folder: &Path) -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
    let (certificate, key) = (folder.join("ca.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=test",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        skip("there is no openssl here that makes a certificate")?;
        return Ok(None);
    }
    Ok(Some((certificate, key)))
}

#[test]
fn a_registry_over_tls_is_believed_if_its_authority_is() -> anyhow::Result<()> {
    let home = home()?;
    let Some((certificate, key)) = certificate(home.path())? else {
        return Ok(());
    };
    let Some(registry) = Registry::start_tls(&certificate, &key)? else {
        return Ok(());
    };
    let settings = home.path().join("certs.d").join(&registry.host);
    fs::create_dir_all(&settings)?;
    let server = format!("https://{}", registry.host);
    let text = format!("server = \"{server}\"\n[host.\"{server}\"]\nca = \"ca.pem\"\n");
    fs::write(settings.join("hosts.toml"), &text)?;
    let reference = format!("{}/hello:1", registry.host);
    let images = Images::new(&home.path().join("data"))
        .with("WASMPOD_REGISTRIES", &home.path().join("certs.d"));
    pack(&images, &reference)?;
    let unsettled = Images::new(&home.path().join("data"));
    for command in ["push", "pull"] {
        let error = unsettled.bad(&[command, &reference])?;
        ensure!(error.contains("seems to speak https"), "{command}: {error}");
    }
    let error = images.bad(&["push", &reference])?;
    ensure!(error.contains("cannot read the authorities"), "{error}");
    fs::write(settings.join("ca.pem"), fs::read(&certificate)?)?;
    for text in [text, format!("server = \"{server}\"\nskip_verify = true\n")] {
        fs::write(settings.join("hosts.toml"), text)?;
        images.good(&["push", &reference])?;
        images.good(&["rm", &reference])?;
        images.good(&["pull", &reference])?;
    }
    fs::write(
        settings.join("hosts.toml"),
        format!("server = \"{server}\"\n"),
    )?;
    let error = images.bad(&["pull", &reference])?;
    let file = settings.join("hosts.toml").display().to_string();
    for wanted in [
        "name its authority with `ca` in",
        &file,
        "`skip_verify = true`",
    ] {
        ensure!(error.contains(wanted), "{wanted}: {error}");
    }
    Ok(())
}
