//! From the command line to pods: manifests, or one image.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use api::single::{Directory, Publish, Single, single};
use api::{ManifestError, Workload};
use model::Container;
use model::container::Protocol;
use net::steer::Endpoint;
use rustix::fs::{PROC_SUPER_MAGIC, statfs};
use rustix::io::Errno;

use crate::options::{Network, Run};

/// The largest manifest: etcd's bound on an object, for some hundred objects.
const MANIFEST: u64 = 64 << 20;

/// What is to run.
pub(crate) struct Loaded {
    /// Pods and the objects that they read.
    pub(crate) workload: Workload,
    /// Where the `file:` images of the manifests lie.
    pub(crate) images: HashMap<String, PathBuf>,
    /// Whether standard input belongs to the one container.
    pub(crate) stdin: bool,
    /// Its name.
    pub(crate) container: String,
}

/// Reads everything that the command line names.
///
/// # Errors
/// Every fault of every manifest, printed as a compiler does; then how many there were.
pub(crate) fn load(options: &Run) -> anyhow::Result<Loaded> {
    let mut loading = Loading {
        workload: Workload::new(),
        images: HashMap::new(),
        errors: Vec::new(),
    };
    if let Some(image) = &options.image {
        return loading.image(image, options);
    }
    if options.filename.is_empty() {
        bail!(
            "nothing to run: name manifests with -f FILE, or an IMAGE_OR_WASM; see wasmpod run --help"
        );
    }
    for name in &options.filename {
        loading.manifest(name)?;
    }
    loading.finish()
}

struct Loading {
    workload: Workload,
    images: HashMap<String, PathBuf>,
    errors: Vec<ManifestError>,
}

// === impl Loading ===

impl Loading {
    /// A file, a directory of them, or standard input.
    fn manifest(&mut self, name: &str) -> anyhow::Result<()> {
        if name == "-" {
            let mut text = Vec::new();
            io::stdin()
                .take(MANIFEST + 1)
                .read_to_end(&mut text)
                .context("cannot read standard input")?;
            let here = std::env::current_dir().context("cannot tell the working directory")?;
            Self::whole(&text, "standard input")?;
            self.add(&text, "<stdin>", &here);
            return Ok(());
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            bail!("{name}: manifests are not fetched: download it first, and name the file");
        }
        let path = Path::new(name);
        let about = fs::metadata(path).with_context(|| format!("cannot open {name}"))?;
        if !about.is_dir() {
            return self.file(path);
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(path).with_context(|| format!("cannot list {name}"))? {
            let path = entry.with_context(|| format!("cannot list {name}"))?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if matches!(extension, Some("yaml" | "yml" | "json")) && path.is_file() {
                found.push(path);
            }
        }
        if found.is_empty() {
            bail!("{name} holds no manifest: a file that ends in .yaml, .yml or .json");
        }
        found.sort();
        found.iter().try_for_each(|path| self.file(path))
    }

    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let name = path.display().to_string();
        let file = fs::File::open(path).with_context(|| format!("cannot open {name}"))?;
        let mut text = Vec::new();
        file.take(MANIFEST + 1)
            .read_to_end(&mut text)
            .with_context(|| format!("cannot read {name}"))?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let folder = folder
            .canonicalize()
            .with_context(|| format!("cannot open the folder of {name}"))?;
        Self::whole(&text, &name)?;
        self.add(&text, &name, &folder);
        Ok(())
    }

    /// Refuses a manifest that was cut.
    fn whole(text: &[u8], name: &str) -> anyhow::Result<()> {
        if text.len() as u64 > MANIFEST {
            bail!(
                "{name} is larger than {} MiB: cut it into several files",
                MANIFEST >> 20
            );
        }
        Ok(())
    }

    /// Adds the objects of one manifest; its `file:` images are relative to `folder`.
    fn add(&mut self, text: &[u8], name: &str, folder: &Path) {
        let before = self.workload.pods.len();
        self.errors.extend(
            self.workload
                .add(text, name, SystemTime::now())
                .err()
                .unwrap_or_default(),
        );
        let (pods, images) = (&mut self.workload.pods, &mut self.images);
        for admitted in pods.iter_mut().skip(before) {
            let (init, main) = (
                &mut admitted.pod.init_containers,
                &mut admitted.pod.containers,
            );
            for container in init.iter_mut().chain(main) {
                let Some(file) = container.image.strip_prefix("file:") else {
                    continue;
                };
                let path = folder.join(file);
                // Two manifests of different folders may mean different files by the same words.
                if images
                    .get(&container.image)
                    .is_some_and(|known| *known != path)
                {
                    container.image = format!("file:{}", path.display());
                }
                images.insert(container.image.clone(), path);
            }
        }
    }

    /// One image as a pod of its own.
    fn image(mut self, image: &str, options: &Run) -> anyhow::Result<Loaded> {
        let is_file = is_file(image);
        let reference = match image.strip_prefix("file:") {
            Some(_) => image.to_owned(),
            None if is_file => format!("file:{image}"),
            None => image.to_owned(),
        };
        if let Some(file) = reference.strip_prefix("file:") {
            let here = std::env::current_dir().context("cannot tell the working directory")?;
            self.images.insert(reference.clone(), here.join(file));
        }
        if let Some(why) = unusable(&reference, &self.images) {
            bail!("image {reference:?}: {why}");
        }
        let object = single(&Single {
            image: reference,
            name: None,
            args: options.args.clone(),
            env: options.env.clone(),
            directories: options
                .dir
                .iter()
                .map(|text| directory(text))
                .collect::<anyhow::Result<_>>()?,
            publish: options
                .publish
                .iter()
                .map(|text| free(publish(text)?, text))
                .collect::<anyhow::Result<_>>()?,
            cpu: options.cpu.clone(),
            memory: options.memory.clone(),
            host_network: options.network == Network::Host,
            stdin: true,
            tty: false,
        });
        self.errors.extend(
            self.workload
                .add_object(object, SystemTime::now())
                .err()
                .unwrap_or_default(),
        );
        let mut loaded = self.finish()?;
        loaded.stdin = true;
        if let Some(container) = loaded
            .workload
            .pods
            .first()
            .and_then(|pod| pod.pod.containers.first())
        {
            loaded.container.clone_from(&container.name);
        }
        Ok(loaded)
    }

    fn finish(mut self) -> anyhow::Result<Loaded> {
        if self.errors.is_empty() {
            self.errors = self.workload.missing();
            self.errors.extend(self.workload.conflicts());
            let own = super::placement::user();
            self.errors.extend(self.workload.strangers(&own));
            let node = super::placement::node_name();
            self.errors.extend(self.workload.misplaced(&node));
        }
        let images = &self.images;
        let fault = |container: &Container| unusable(&container.image, images);
        self.errors.extend(self.workload.unusable_images(fault));
        let mut stderr = io::stderr().lock();
        for error in &self.errors {
            writeln!(stderr, "{error}")?;
        }
        if !self.errors.is_empty() {
            let count = self.errors.len();
            bail!(
                "nothing was run: {count} {} to mend",
                if count == 1 { "error" } else { "errors" }
            );
        }
        for warning in self.workload.warnings() {
            writeln!(stderr, "{warning}")?;
        }
        if self.workload.pods.is_empty() {
            bail!("nothing to run: the manifests hold no Pod");
        }
        Ok(Loaded {
            workload: self.workload,
            images: self.images,
            stdin: false,
            container: String::new(),
        })
    }
}

/// Whether the image of a command line is a file of this machine.
pub(super) fn is_file(image: &str) -> bool {
    let path = Path::new(image);
    let has_extension = || path.extension().is_some_and(|it| it == "wasm");
    image.starts_with("file:") || path.is_file() || has_extension()
}

/// Why an image cannot be run, where that can be told before anything runs, rather than tried for
/// ever.
fn unusable(image: &str, paths: &HashMap<String, PathBuf>) -> Option<String> {
    if !image.starts_with("file:") {
        let reference = image.parse::<image::Reference>();
        return reference.err().map(|error| {
            format!("{error}; a wasm file of this machine is named as file:PATH.wasm")
        });
    }
    let path = paths.get(image)?;
    let cannot =
        |what: &str, error: io::Error| Some(format!("cannot {what} {}: {error}", path.display()));
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) => return cannot("open", error),
    };
    if !about.is_file() {
        return Some(format!("{} is not a file", path.display()));
    }
    let mut magic = [0; 4];
    match fs::File::open(path).and_then(|mut file| file.read(&mut magic)) {
        Ok(read) if magic.get(..read) == Some(b"\0asm") => None,
        Ok(_) => Some(format!(
            "{} is not a wasm file: it does not begin with \\0asm",
            path.display()
        )),
        Err(error) => cannot("read", error),
    }
}

/// `HOST:GUEST[:ro]`.
fn directory(text: &str) -> anyhow::Result<Directory> {
    let (rest, read_only) = match text.strip_suffix(":ro") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let Some((host, guest)) = rest
        .rsplit_once(':')
        .filter(|(host, guest)| !host.is_empty() && guest.starts_with('/'))
    else {
        bail!(
            "--dir {text}: write it as HOST:GUEST or HOST:GUEST:ro, with an absolute path in the container"
        );
    };
    let path = Path::new(host)
        .canonicalize()
        .with_context(|| format!("--dir {text}: cannot open {host}"))?;
    if statfs(&path).is_ok_and(|about| about.f_type == PROC_SUPER_MAGIC) {
        bail!(
            "--dir {text}: nothing of /proc is offered: it would show a container this program itself"
        );
    }
    Ok(Directory {
        host: path.display().to_string(),
        guest: guest.to_owned(),
        read_only,
    })
}

/// `HOST:CONTAINER[/udp]`.
fn publish(text: &str) -> anyhow::Result<Publish> {
    let (ports, protocol) = match text.split_once('/') {
        None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
        Some((ports, "udp")) => (ports, Protocol::Udp),
        Some((_, other)) => bail!("--publish {text}: the protocol is tcp or udp, not {other:?}"),
    };
    let port = |port: &str| port.parse::<u16>().ok().filter(|port| *port > 0);
    match ports
        .split_once(':')
        .map(|(host, container)| (port(host), port(container)))
    {
        Some((Some(host), Some(container))) => Ok(Publish {
            host,
            container,
            protocol,
        }),
        _ => bail!("--publish {text}: write it as HOST:CONTAINER with ports from 1 to 65535"),
    }
}

/// Refuses a port of this machine that another program has: nobody would find the container there.
fn free(publish: Publish, text: &str) -> anyhow::Result<Publish> {
    let door = Endpoint {
        protocol: publish.protocol,
        at: (Ipv4Addr::UNSPECIFIED, publish.host).into(),
    };
    // As its door will be bound, which shares the port with those at pods' addresses.
    match net::bind_socket(door, false) {
        Err(Errno::ADDRINUSE) => {
            let port = publish.host;
            bail!(
                "--publish {text}: port {port} of this machine is taken: stop who has it, or publish another"
            )
        }
        // What this user may not open opens elsewhere, and an Event says where.
        _ => Ok(publish),
    }
}
