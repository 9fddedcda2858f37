//! The working directory of a container, made where it is missing, as container runtimes do.

use volume::{FsError, MountTable, OpenOptions};

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
    let directory = OpenOptions {
        read: true,
        directory: true,
        ..OpenOptions::default()
    };
    let opened = |path: &str| root.open_at(path, true, &directory).map(|_| ());
    let made = match opened(&names.join("/")) {
        Err(FsError::NoEntry) => (1..=names.len()).try_for_each(|depth| {
            let path = names.get(..depth).unwrap_or_default().join("/");
            match root.create_directory_at(&path) {
                // Somebody else may have made it meanwhile.
                Ok(()) | Err(FsError::Exist) => opened(&path),
                Err(error) => opened(&path).map_err(|_| error),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::runtime::{FileSpec, MountSpec, VolumeSource, VolumeSpec};
    use volume::{PodVolumes, RootSpec};

    use super::*;

    /// A container with an emptyDir at /data and files at /etc/conf.
    fn files(directory: &std::path::Path, read_only: bool) -> MountTable {
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
            let files = files(&directory.path().join("pod"), read_only);
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
}
