//! The compiler here is a shell script, so that what it does and when is the test's.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A store whose compiler writes down that it ran, does as it is told, and prints a path.
struct Bench {
    folder: tempfile::TempDir,
    store: Arc<CodeStore>,
}

// === impl Bench ===

impl Bench {
    /// `body` runs with `$2` the digest and `$4` the directory, and ends by writing `$code`.
    fn new(body: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (code, compiler) = (folder.path().join("code"), folder.path().join("compiler"));
        let paths = CodePaths::new(code.clone());
        let name = paths.path("DIGEST", engine::config::Kind::Sync);
        let name = name.file_name().expect("a name").to_string_lossy();
        let fingerprint = name.strip_prefix("DIGEST").expect("its beginning");
        let script = format!(
            "#!/bin/sh\necho $2 >>\"$4/../ran\"\ncode=\"$4/$2{fingerprint}\"\n{body}\necho \"$code\"\n"
        );
        std::fs::write(&compiler, script).expect("a script");
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&compiler, mode).expect("a program");
        let store = Arc::new(CodeStore::new(code, compiler));
        Self { folder, store }
    }

    async fn code(&self, digest: &str) -> PathBuf {
        let wasm = self.folder.path().join("wasm");
        self.store.code(&wasm, digest).await.expect("code")
    }

    fn ran(&self) -> usize {
        let ran = std::fs::read_to_string(self.folder.path().join("ran"));
        ran.unwrap_or_default().lines().count()
    }
}

#[tokio::test]
async fn what_is_cut_is_compiled_again_and_nothing_else_is() {
    let bench = Bench::new("echo 'not the code of any wasm' >\"$code\"");
    let code = bench.code("d").await;
    assert_eq!(bench.code("d").await, code);
    assert_eq!(bench.ran(), 1, "this process made it");
    let another = CodeStore::new(bench.store.directory.clone(), bench.store.compiler.clone());
    another.code(&code, "d").await.expect("code");
    assert_eq!(bench.ran(), 2, "it is no code");
    std::fs::remove_file(&code).expect("removed");
    bench.code("d").await;
    assert_eq!(bench.ran(), 3, "it is gone");
}

#[tokio::test]
async fn no_more_compilers_run_at_once_than_there_are_turns() {
    // Each takes a place while it runs, and fails where there is none.
    let places: String = (0..turns()).map(|place| format!(" {place}")).collect();
    let body = format!(
        "for place in{places}; do mkdir \"$4/../$place\" 2>/dev/null && break; place=; done\n\
         [ -n \"$place\" ] || {{ echo too many >&2; exit 1; }}\n\
         : >\"$code\"; rmdir \"$4/../$place\""
    );
    let bench = Bench::new(&body);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..12 {
        let store = Arc::clone(&bench.store);
        let wasm = bench.folder.path().join("wasm");
        tasks.spawn(async move { store.code(&wasm, &format!("d{number}")).await });
    }
    while let Some(code) = tasks.join_next().await {
        code.expect("a task").expect("code");
    }
    assert_eq!(bench.ran(), 12);
}
