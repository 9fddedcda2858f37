//! The working directory of a container, made where it is missing, as container runtimes do.

use model::runtime::{InstanceSpec, MountSpec};
use volume::{FsError, MountTable, OpenOptions, PodVolumes, RootSpec, VolumeError};

/// Whether the files of an instance are known only after a look at the disk, which may take long:
/// not where tasks run.
pub(crate) fn is_looked_for(spec: &InstanceSpec) -> bool {
    may_lack(
        spec.image.root.is_some(),
        spec.read_only_root,
        &spec.working_dir,
    )
}

/// The files of a container that begins at `path`. Where its image lacks that, whose files cannot
/// be written to, it is an empty directory of the container's own. What is mounted is not looked at.
///
/// # Errors
/// As [`MountTable::new`].
pub(crate) fn files(
    volumes: &PodVolumes,
    root: RootSpec,
    mounts: &[MountSpec],
    path: &str,
) -> Result<MountTable, VolumeError> {
    if !may_lack(root.image.is_some(), root.read_only, path) {
        return MountTable::new(volumes, root, mounts);
    }
    let table = MountTable::new(volumes, root.clone(), mounts)?;
    if table.is_mounted(path) || !matches!(opened(&table, path), Err(FsError::NoEntry)) {
        return Ok(table);
    }
    MountTable::with_directory(volumes, root, mounts, path)
}

/// Whether a directory would be made among an image's files.
fn may_lack(has_image: bool, read_only: bool, path: &str) -> bool {
    has_image && !read_only && path != "/"
}

/// Makes it and the directories above it, where they are not there.
///
/// # Errors
/// Why there is none, with the remedy.
pub(crate) fn make(files: &MountTable, path: &str) -> Result<(), String> {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let root = files.root();
    let made = match opened(files, path) {
        Err(FsError::NoEntry) => (1..=names.len()).try_for_each(|depth| {
            let path = names.get(..depth).unwrap_or_default().join("/");
            match root.create_directory_at(&path) {
                // Somebody else may have made it meanwhile.
                Ok(()) | Err(FsError::Exist) => opened(files, &path),
                Err(error) => opened(files, &path).map_err(|_| error),
            }
        }),
        other => other,
    };
    made.map_err(|error| match error {
        FsError::NotDirectory => {
            format!("chdir to cwd ({path:?}) failed: not a directory; give another workingDir")
        }
        FsError::ReadOnly => format!(
            "mkdir {path}: read-only file system; give a workingDir that is there, mount a \
             writable volume at it, or leave readOnlyRootFilesystem out"
        ),
        error => format!("mkdir {path}: {error}; give another workingDir"),
    })
}

/// Whether a directory is there, by its path from the root.
fn opened(files: &MountTable, path: &str) -> Result<(), FsError> {
    let directory = OpenOptions {
        read: true,
        directory: true,
        ..OpenOptions::default()
    };
    let path = path.trim_matches('/');
    files.root().open_at(path, true, &directory).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::runtime::{FileSpec, VolumeSource, VolumeSpec};

    use super::*;

    /// A container with an emptyDir at /data and files at /etc/conf.
    fn bare(directory: &std::path::Path, read_only: bool) -> MountTable {
        let volume = |source| VolumeSpec {
            source,
            size_limit: None,
        };
        let file = FileSpec {
            path: "f".to_owned(),
            content: "text".into(),
            mode: 0o644,
        };
        let volumes = BTreeMap::from([
            (
                "data".to_owned(),
                volume(VolumeSource::Empty { memory: false }),
            ),
            ("conf".to_owned(), volume(VolumeSource::Files(vec![file]))),
        ]);
        let mounts = [("data", "/data"), ("conf", "/etc/conf")].map(|(volume, path)| MountSpec {
            volume: volume.to_owned(),
            path: path.to_owned(),
            ..MountSpec::default()
        });
        let root = RootSpec {
            container: "c-1".to_owned(),
            image: None,
            read_only,
            size_limit: None,
        };
        MountTable::new(
            &PodVolumes::new(directory.to_owned(), volumes),
            root,
            &mounts,
        )
        .expect("a table")
    }

    #[test]
    fn a_directory_is_made_where_one_can_be() {
        let cases = [
            ("/", false, Ok(())),
            ("/", true, Ok(())),
            ("/data", true, Ok(())),
            ("/data/deep/er/", true, Ok(())),
            ("/etc", true, Ok(())),
            ("/work", false, Ok(())),
            ("/work", true, Err("mkdir /work: read-only file system")),
            (
                "/etc/conf/new",
                false,
                Err("mkdir /etc/conf/new: read-only file system"),
            ),
            (
                "/etc/conf/f",
                false,
                Err("chdir to cwd (\"/etc/conf/f\") failed: not a directory"),
            ),
        ];
        for (path, read_only, wanted) in cases {
            let directory = tempfile::tempdir().expect("a directory");
            let files = bare(&directory.path().join("pod"), read_only);
            match (make(&files, path), wanted) {
                (Ok(()), Ok(())) => {
                    let names = path.trim_matches('/');
                    let listed = files.root().open_at(names, true, &OpenOptions::default());
                    assert!(names.is_empty() || listed.is_ok(), "{path} {read_only}");
                    // Twice is as well.
                    assert_eq!(make(&files, path), Ok(()), "{path} {read_only}");
                }
                (Err(error), Err(words)) => assert!(error.starts_with(words), "{error}"),
                (made, _) => panic!("{path} {read_only}: {made:?}"),
            }
        }
    }

    /// Links at the top of an image.
    const LINKS: [(&str, &str); 5] = [
        ("/run", "var-run"),
        ("data", "linked"),
        ("loop", "loop"),
        ("../../run", "above"),
        ("../../data", "above-data"),
    ];

    #[test]
    fn what_an_image_lacks_is_the_containers_own() {
        let home = tempfile::tempdir().expect("a directory");
        let image = home.path().join("image");
        std::fs::create_dir_all(image.join("app")).expect("an image");
        std::fs::write(image.join("app/program"), "wasm").expect("a file");
        std::fs::create_dir_all(image.join("run/there")).expect("an image");
        for (target, link) in LINKS {
            std::os::unix::fs::symlink(target, image.join(link)).expect("a link");
        }
        let volume = VolumeSpec {
            source: VolumeSource::Empty { memory: false },
            size_limit: None,
        };
        let volumes = BTreeMap::from([("data".to_owned(), volume)]);
        let volumes = PodVolumes::new(home.path().join("pod"), volumes);
        let mounts = [MountSpec {
            volume: "data".to_owned(),
            path: "/data".to_owned(),
            ..MountSpec::default()
        }];
        let cases = [
            ("/app/work", false, true),
            ("/srv/deep/er/", false, true),
            ("/data/w", false, true),
            ("/data/w", true, true),
            ("/app", true, true),
            ("/app/work", true, false),
            // What is behind a link is not hidden by what is made there.
            ("/var-run/work", false, true),
            ("/var-run/deep/er", false, true),
            ("/linked/work", false, true),
            ("/above/work", false, true),
            ("/above-data/work", false, true),
            ("/loop/work", false, false),
        ];
        for (number, (path, read_only, is_made)) in cases.into_iter().enumerate() {
            let root = RootSpec {
                container: format!("c-{number}"),
                image: Some(image.clone()),
                read_only,
                size_limit: None,
            };
            let files = files(&volumes, root, &mounts, path).expect("a table");
            let made = make(&files, path);
            assert_eq!(made.is_ok(), is_made, "{path} {read_only}: {made:?}");
            let new = format!("{}/new-{number}", path.trim_matches('/'));
            let writes = files.root().create_directory_at(&new);
            // Of the image's own nothing can be changed.
            assert_eq!(
                writes.is_ok(),
                is_made && path != "/app",
                "{path} {writes:?}"
            );
            let program = files.read("/app/program", 4);
            assert_eq!(program.as_deref(), Ok(&b"wasm"[..]), "{path}");
            assert_eq!(opened(&files, "/var-run/there"), Ok(()), "{path}");
        }
        let entries = std::fs::read_dir(image.join("app")).expect("the image");
        assert_eq!(entries.count(), 1, "the image was written to");
    }
}
